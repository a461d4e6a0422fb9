// The description at /openapi.json -> Swagger UI, whose files come with BentoML.
"use strict";
window.SwaggerUIBundle({ url: "../openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
