// A file -> "image" | "video": the form field and the route. The service checks the content itself.
const VIDEO_EXTENSIONS = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|m2ts|mts|3gp|ogv|wmv|flv)$/i;
const GIF_FRAME = [0x21, 0xf9, 0x04]; // the block before each frame of a GIF

export async function mediaKind(file) {
  if (file.type === "image/gif" || /\.gif$/i.test(file.name)) return (await isAnimated(file)) ? "video" : "image";
  if (file.type.startsWith("video/")) return "video";
  return !file.type.startsWith("image/") && VIDEO_EXTENSIONS.test(file.name) ? "video" : "image";
}

/** Whether a GIF has more than one frame. */
async function isAnimated(file) {
  const data = new Uint8Array(await file.slice(0, 2 ** 22).arrayBuffer());
  let frames = 0;
  for (let i = data.indexOf(GIF_FRAME[0]); i >= 0 && frames < 2; i = data.indexOf(GIF_FRAME[0], i + 1)) {
    if (data[i + 1] === GIF_FRAME[1] && data[i + 2] === GIF_FRAME[2]) frames += 1;
  }
  return frames > 1;
}
