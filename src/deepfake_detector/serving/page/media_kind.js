// A file -> "image" | "video": the field it is sent in. The service looks at the content; this only picks the door.
const VIDEO_ENDINGS = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|m2ts|mts|3gp|ogv|wmv|flv)$/i;
const FRAME = [0x21, 0xf9, 0x04]; // a GIF's block before each picture

export async function mediaKind(file) {
  if (file.type === "image/gif" || /\.gif$/i.test(file.name)) return (await moves(file)) ? "video" : "image";
  if (file.type.startsWith("video/")) return "video";
  return !file.type.startsWith("image/") && VIDEO_ENDINGS.test(file.name) ? "video" : "image";
}

/** Whether a GIF holds more than one picture. */
async function moves(file) {
  const data = new Uint8Array(await file.slice(0, 2 ** 22).arrayBuffer());
  let found = 0;
  for (let at = data.indexOf(FRAME[0]); at >= 0 && found < 2; at = data.indexOf(FRAME[0], at + 1)) {
    if (data[at + 1] === FRAME[1] && data[at + 2] === FRAME[2]) found += 1;
  }
  return found > 1;
}
