// The microphone, and what the server hears in it while it is spoken.

export const RATE_HZ = 16000;

// `path` is the websocket's, `query` what it is asked beside the rate.
// Calls back: sound(samples) for every 100 ms; heard(message) for what the server sends;
// closed(why) once at the end, why is empty when we ended it.
export async function listen({ path, query, key, sound, heard, closed }) {
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext({ sampleRate: RATE_HZ });
  await context.audioWorklet.addModule("/page/recorder.js");
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  context.createMediaStreamSource(media).connect(recorder);

  const address = new URL(path, location.href.replace(/^http/, "ws"));
  address.search = new URLSearchParams({ ...query, rate: RATE_HZ });
  const socket = new WebSocket(address, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]);
  let over = "the server cannot be reached, or refused";
  const release = () => {
    media.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
  };

  const early = []; // spoken before the server was there
  recorder.port.onmessage = ({ data }) => {
    sound(data);
    const pcm = Int16Array.from(data, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32768))));
    if (socket.readyState === WebSocket.OPEN) socket.send(pcm);
    else if (socket.readyState === WebSocket.CONNECTING) early.push(pcm);
  };
  socket.onopen = () => early.splice(0).forEach((pcm) => socket.send(pcm));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "session.created") over = "the connection was lost";
    else if (message.type === "committed") {
      over = "";
      socket.close();
    } else if (message.type === "error") over = message.error.message;
    else heard(message);
  };
  socket.onclose = ({ reason }) => {
    release();
    closed(over && reason ? reason : over);
  };

  return () => { // stop: what is still in the air is heard to its end
    release();
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "input_audio_buffer.commit" }));
    else {
      over = "";
      socket.close();
    }
  };
}

// Float samples as a WAV file, so that the page can play what was spoken.
export function wav(blocks) {
  const samples = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * samples));
  const letters = (at, text) => [...text].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE_HZ, true);
  view.setUint32(28, 2 * RATE_HZ, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const block of blocks) {
    for (const x of block) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(x * 32768))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
