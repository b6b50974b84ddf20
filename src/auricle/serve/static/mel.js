// A running mel spectrogram on a canvas: 16 kHz samples in, columns of 64 bands out.

const SIZE = 512;
const HOP = 160; // 10 ms
const BANDS = 64;
const LOWEST_HZ = 60;
const QUIET_DB = -75;
const LOUD_DB = -10;

export class Mel {
  constructor(canvas, rateHz = 16000) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.filters = filters(rateHz);
    this.window = Float32Array.from({ length: SIZE }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / SIZE));
    this.column = this.context.createImageData(1, canvas.height);
    this.clear();
  }

  clear() {
    this.waiting = new Float32Array(0);
    this.at = 0;
    this.context.fillStyle = "rgb(11 12 24)";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  // Samples of any number; `hop` draws a long recording in as many columns as there are.
  push(samples, hop = HOP) {
    const known = new Float32Array(this.waiting.length + samples.length);
    known.set(this.waiting);
    known.set(samples, this.waiting.length);
    let start = 0;
    for (; start + SIZE <= known.length; start += hop) {
      this.draw(this.bands(known.subarray(start, start + SIZE)));
    }
    this.waiting = known.slice(Math.min(start, known.length));
  }

  // A whole recording over the whole canvas.
  show(samples) {
    this.clear();
    this.push(samples, Math.max(HOP, Math.ceil(samples.length / this.canvas.width)));
  }

  bands(frame) {
    const real = new Float32Array(SIZE);
    const imaginary = new Float32Array(SIZE);
    for (let n = 0; n < SIZE; n++) real[n] = frame[n] * this.window[n];
    transform(real, imaginary);
    return this.filters.map((filter) => {
      let power = 0;
      for (const [bin, weight] of filter) power += weight * (real[bin] ** 2 + imaginary[bin] ** 2);
      return 10 * Math.log10(power / SIZE + 1e-10);
    });
  }

  draw(bands) {
    const { canvas, context, column } = this;
    if (this.at === canvas.width) { // full: everything moves on
      context.drawImage(canvas, -1, 0);
      this.at -= 1;
    }
    for (let y = 0; y < canvas.height; y++) {
      const db = bands[Math.floor(((canvas.height - 1 - y) * BANDS) / canvas.height)];
      const level = Math.min(1, Math.max(0, (db - QUIET_DB) / (LOUD_DB - QUIET_DB)));
      column.data.set(colour(level), 4 * y);
    }
    context.putImageData(column, this.at, 0);
    this.at += 1;
  }
}

// From night over violet and orange to light; each step is brighter than the one before.
const STOPS = [[11, 12, 24], [66, 22, 104], [160, 43, 97], [240, 112, 46], [252, 238, 160]];

function colour(level) {
  const place = level * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  return [0, 1, 2].map((c) => STOPS[low][c] + (place - low) * (STOPS[low + 1][c] - STOPS[low][c])).concat(255);
}

function filters(rateHz) {
  const toMel = (hz) => 1127 * Math.log(1 + hz / 700);
  const low = toMel(LOWEST_HZ);
  const width = (toMel(rateHz / 2) - low) / (BANDS + 1);
  return Array.from({ length: BANDS }, (_, band) => {
    const filter = [];
    for (let bin = 1; bin < SIZE / 2; bin++) {
      const weight = 1 - Math.abs((toMel((bin * rateHz) / SIZE) - low) / width - band - 1);
      if (weight > 0) filter.push([bin, weight]);
    }
    return filter;
  });
}

// Fast Fourier transform in place, radix 2.
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= size; length <<= 1) {
    const angle = (-2 * Math.PI) / length;
    for (let start = 0; start < size; start += length) {
      for (let k = 0; k < length / 2; k++) {
        const a = start + k;
        const b = a + length / 2;
        const c = Math.cos(angle * k);
        const s = Math.sin(angle * k);
        const re = real[b] * c - imaginary[b] * s;
        const im = real[b] * s + imaginary[b] * c;
        [real[b], imaginary[b]] = [real[a] - re, imaginary[a] - im];
        [real[a], imaginary[a]] = [real[a] + re, imaginary[a] + im];
      }
    }
  }
}
