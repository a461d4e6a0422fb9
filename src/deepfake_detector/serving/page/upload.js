// Dropped, chosen or pasted files -> onFiles(files).
export function acceptFiles({ input, button, dropArea, onFiles }) {
  const pass = (files) => files.length && onFiles([...files]);
  let depth = 0; // dragenter and dragleave are also sent for every child
  const highlight = (on) => dropArea.classList.toggle("drag-over", on);

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    pass(input.files);
    input.value = ""; // so that the same file can be chosen twice in a row
  });
  document.addEventListener("dragenter", (event) => highlight(++depth > 0 && hasFiles(event)));
  document.addEventListener("dragleave", () => highlight(--depth > 0));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    highlight(false);
    pass(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => pass(event.clipboardData.files));
}

const hasFiles = (event) => event.dataTransfer.types.includes("Files");
