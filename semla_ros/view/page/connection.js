// The WebSocket to the view: scenes, status, samples and answers. It reconnects by itself.

const AGAIN_MS = 1000;

/** Connects for ever. `on` has the functions scene(scene), status(status), samples(samples, restart), answer(answer)
 * and link(isOpen). Returns a function that asks for an action. */
export function connect(on) {
  let socket = null;
  let number = 0;

  function open() {
    socket = new WebSocket(new URL("live", location.href.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { on.link(true); socket.send(JSON.stringify({ ready: true })); };
    socket.onclose = () => { on.link(false); setTimeout(open, AGAIN_MS); };
    socket.onmessage = async (message) => {
      if (typeof message.data === "string") return take(JSON.parse(message.data));
      try {
        await on.scene(await unpacked(message.data));
      } finally {  // the next scene is sent only after this one has been drawn
        if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ready: true }));
      }
    };
  }

  function take(content) {
    if (content.status) on.status(content.status);
    if (content.samples) on.samples(content.samples, content.restart);
    if (content.answer) on.answer(content.answer);
  }

  open();
  return (action, value) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ do: action, value, id: ++number }));
  };
}

/** A scene from its bytes: uint32 length of the JSON header, header, JPEG, PNG of class ids, JPEG of confidences. */
async function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  const kinds = ["image/jpeg", "image/png", "image/jpeg"];
  const [image, ids, confidence] = await Promise.all(header.lengths.map((size, i) => {
    const bytes = new Uint8Array(buffer, start, size);
    start += size;
    if (!size) return null;
    return createImageBitmap(new Blob([bytes], { type: kinds[i] }), { colorSpaceConversion: "none" });
  }));
  return { ...header, image, ids: values(ids, header.unlabelled > 255), confidence: confidence && values(confidence) };
}

/** The pixel values of a grey image, or of ids in two channels. */
function values(bitmap, isWide = false) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const out = isWide ? new Uint16Array(width * height) : new Uint8Array(width * height);
  for (let i = 0; i < out.length; i++) out[i] = isWide ? data[4 * i] + 256 * data[4 * i + 1] : data[4 * i];
  return { width, height, data: out };
}
