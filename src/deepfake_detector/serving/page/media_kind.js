// A file -> "image" | "video": the form field and the route. The service checks the content itself.
//
// An animation is a video everywhere: more than one frame of a GIF, PNG, WebP or AVIF; see media/animation.py.
const VIDEO_EXTENSIONS = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|m2ts|mts|3gp|ogv|wmv|flv)$/i;
const SEARCHED_BYTES = 2 ** 22; // a second frame of a GIF may begin late; the others announce it in their header
const WEBP_ANIMATED = 2;

export async function mediaKind(file) {
  const data = new Uint8Array(await file.slice(0, SEARCHED_BYTES).arrayBuffer());
  if (isAnimation(data)) return "video";
  if (file.type.startsWith("video/")) return "video";
  return !file.type.startsWith("image/") && VIDEO_EXTENSIONS.test(file.name) ? "video" : "image";
}

/** Whether the beginning of a file announces a picture with more than one frame, whatever its name is. */
export function isAnimation(data) {
  const ascii = (from, to) => String.fromCharCode(...data.subarray(from, to));
  if (ascii(0, 4) === "GIF8") return hasSecondGifFrame(data);
  if (ascii(1, 4) === "PNG") return pngFrames(data) > 1;
  if (ascii(0, 4) === "RIFF" && ascii(8, 12) === "WEBP") return ascii(12, 16) === "VP8X" && (data[20] & WEBP_ANIMATED) > 0;
  return ascii(4, 8) === "ftyp" && isAvifSequence(data, ascii);
}

/** Count the frames block by block: 0x21 is an extension, 0x2c a frame; each ends with an empty sub-block. */
function hasSecondGifFrame(data) {
  const colourTableBytes = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  const afterSubBlocks = (at) => {
    while (data[at]) at += 1 + data[at];
    return at + 1;
  };
  let frames = 0;
  for (let at = 13 + colourTableBytes(data[10]); at < data.length && frames < 2; ) {
    if (data[at] === 0x21) at = afterSubBlocks(at + 2);
    else if (data[at] === 0x2c) {
      frames += 1;
      at = afterSubBlocks(at + 11 + colourTableBytes(data[at + 9]));
    } else break;
  }
  return frames > 1;
}

/** The number in the chunk acTL, which comes before the pixels; 1 without it. */
function pngFrames(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 8; at + 12 <= data.length; at += 12 + view.getUint32(at)) {
    const name = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (name === "IDAT") return 1;
    if (name === "acTL") return view.getUint32(at + 8);
  }
  return 1;
}

/** Whether the brands of an AVIF file, the major one and the compatible ones, name a sequence of pictures. */
function isAvifSequence(data, ascii) {
  const end = Math.min(new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(0), data.length, 512);
  const brands = [ascii(8, 12)];
  for (let at = 16; at + 4 <= end; at += 4) brands.push(ascii(at, at + 4));
  return ["avif", "avis"].includes(brands[0]) && brands.includes("avis");
}
