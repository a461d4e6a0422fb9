// /openapi.json -> Swagger UI, whose files BentoML brings along.
"use strict";
window.SwaggerUIBundle({ url: "../openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
