// Dropped, chosen or pasted files -> onFiles(files).
export function intake({ input, button, zone, onFiles }) {
  const take = (files) => files.length && onFiles([...files]);
  let depth = 0; // dragenter and dragleave also come for every child
  const mark = (over) => zone.classList.toggle("over", over);

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen twice in a row
  });
  document.addEventListener("dragenter", (event) => mark(++depth > 0 && carriesFiles(event)));
  document.addEventListener("dragleave", () => mark(--depth > 0));
  document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(Boolean((depth = 0)));
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
}

const carriesFiles = (event) => event.dataTransfer.types.includes("Files");
