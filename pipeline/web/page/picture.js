// Pictures as a model is fed them: decoding, PIL's resampling, the crop, the
// normalisation. The arithmetic is that of the command line, to the bit.

/** Most pixels that a picture may have; a canvas holds no more either. */
const mostPixels = 200_000_000;

/** decode returns a file's pixels as {width, height, pixels}, (H,W,3) 8-bit.
 * Phones' photographs are turned upright. */
export async function decode(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  } catch {
    throw new Error('this browser can’t read it as a picture: use a JPEG, PNG or WebP file');
  }
  const { width, height } = bitmap;
  try {
    if (width * height > mostPixels) {
      throw new Error(`it has ${width}×${height} pixels, more than the ${mostPixels / 1e6} million that fit here`);
    }
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true }); // in plain memory, exact
    context.drawImage(bitmap, 0, 0);
    const rgba = context.getImageData(0, 0, width, height).data;
    const pixels = new Uint8Array(3 * width * height);
    for (let i = 0, o = 0; o < pixels.length; i += 4) {
      pixels[o++] = rgba[i];
      pixels[o++] = rgba[i + 1];
      pixels[o++] = rgba[i + 2];
    }
    return { width, height, pixels };
  } finally {
    bitmap.close();
  }
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** PIL's filters: the radius at unit scale, and the value at x. */
const filters = {
  bilinear: { support: 1, at: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: { support: 2, at: (x) => cubic(Math.abs(x)) },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  hamming: { support: 1, at: (x) => hamming(Math.abs(x)) },
};

function cubic(x) {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

function hamming(x) {
  if (x === 0) return 1;
  if (x >= 1) return 0;
  x *= Math.PI;
  return (Math.sin(x) / x) * (0.54 + 0.46 * Math.cos(x));
}

/** Fixed point of the weights: 8 bits of value and 2 of headroom leave 22 of 32. */
const precision = 22;

/** weightsOf gives, for output positions from..to of a line of size samples
 * that becomes length samples long, the first input position and the weights. */
function weightsOf(filter, size, length, from, to) {
  const scale = size / length;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const inverse = 1 / stretch;
  const out = [];
  for (let i = from; i < to; i++) {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), size);
    const values = new Float64Array(end - first);
    let sum = 0;
    for (let x = 0; x < values.length; x++) {
      values[x] = filter.at((x + first - center + 0.5) * inverse);
      sum += values[x];
    }
    const weights = new Int32Array(values.length);
    for (let x = 0; x < values.length; x++) {
      const v = sum === 0 ? values[x] : values[x] / sum;
      weights[x] = v * (1 << precision) + (v < 0 ? -0.5 : 0.5);
    }
    out.push({ first, weights });
  }
  return out;
}

/** span is the range of input positions that any output position uses. */
function span(line) {
  const last = line.at(-1);
  return [line[0].first, last.first + last.weights.length];
}

const clip = (sum) => Math.min(Math.max(sum >> precision, 0), 255);

/** pass resamples the lines of a picture along one direction: out has one
 * sample for each of the weights, at steps of outStep, on count lines that lie
 * outLine apart; in likewise, beginning with input position start. */
function pass(out, outStep, outLine, input, inStep, inLine, start, line, count) {
  line.forEach(({ first, weights }, i) => {
    for (let n = 0; n < count; n++) {
      for (let c = 0; c < 3; c++) {
        let sum = 1 << (precision - 1);
        let at = n * inLine + (first - start) * inStep + c;
        for (let x = 0; x < weights.length; x++, at += inStep) sum += input[at] * weights[x];
        out[i * outStep + n * outLine + c] = clip(sum);
      }
    }
  });
}

/** resize returns the part {left, top, width, height} of a picture that is
 * resized to w × h pixels, as PIL computes it. */
export function resize(picture, w, h, name, part) {
  const { width, height } = picture;
  if (name === 'nearest') return nearest(picture, w, h, part);
  const filter = filters[name];
  const columns = weightsOf(filter, width, w, part.left, part.left + part.width);
  const rows = weightsOf(filter, height, h, part.top, part.top + part.height);
  const [left, right] = span(columns);
  const [top, bottom] = span(rows);
  const input = picture.pixels.subarray(3 * (top * width + left));
  const out = new Uint8Array(3 * part.width * part.height);
  // Pillow's order, which shows in the rounding between the passes.
  if (height > h && height - h > 2 * (width - w)) {
    const wide = right - left;
    const between = new Uint8Array(3 * wide * part.height);
    pass(between, 3 * wide, 3, input, 3 * width, 3, top, rows, wide);
    pass(out, 3, 3 * part.width, between, 3, 3 * wide, left, columns, part.height);
  } else {
    const between = new Uint8Array(3 * part.width * (bottom - top));
    pass(between, 3, 3 * part.width, input, 3, 3 * width, left, columns, bottom - top);
    pass(out, 3 * part.width, 3, between, 3 * part.width, 3, top, rows, part.width);
  }
  return { width: part.width, height: part.height, pixels: out };
}

/** nearest takes the pixel under each output pixel's centre; positions add up as in PIL. */
function nearest(picture, w, h, part) {
  const positions = (size, length) => {
    const scale = size / length;
    let at = scale * 0.5;
    return Array.from({ length }, () => {
      const p = Math.min(Math.trunc(at), size - 1);
      at += scale;
      return p;
    });
  };
  const columns = positions(picture.width, w).slice(part.left, part.left + part.width);
  const rows = positions(picture.height, h).slice(part.top, part.top + part.height);
  const pixels = new Uint8Array(3 * part.width * part.height);
  let o = 0;
  for (const y of rows) {
    for (const x of columns) {
      const i = 3 * (y * picture.width + x);
      pixels.set(picture.pixels.subarray(i, i + 3), o);
      o += 3;
    }
  }
  return { width: part.width, height: part.height, pixels };
}

/** toEven rounds halves to the even neighbour. */
function toEven(x) {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** geometry is the size to resize a picture to, and the part to crop, by
 * preprocessing with timm's keys. */
export function geometry(preprocess, width, height) {
  const [, rows, columns] = preprocess.input_size;
  let h = Math.floor(rows / preprocess.crop_pct);
  let w = Math.floor(columns / preprocess.crop_pct);
  if (preprocess.crop_mode === 'center') [h, w] = shorterTo(h, w, height, width);
  return { w, h, part: { left: toEven((w - columns) / 2), top: toEven((h - rows) / 2), width: columns, height: rows } };
}

/** shorterTo scales height × width so that it just covers h × w, rounding as
 * torchvision does for squares, as timm for others. */
function shorterTo(h, w, height, width) {
  if (h === w) {
    return width <= height ? [Math.floor((w * height) / width), w] : [h, Math.floor((h * width) / height)];
  }
  const ratio = Math.min(height / h, width / w);
  return [Math.max(toEven(height / ratio), h), Math.max(toEven(width / ratio), w)];
}

/** crop is a picture as the model sees it. */
export function crop(picture, preprocess) {
  const { w, h, part } = geometry(preprocess, picture.width, picture.height);
  return resize(picture, w, h, preprocess.interpolation, part);
}

/** tensor is a cropped picture as the model is fed it: (3,H,W) float32. */
export function tensor({ width, height, pixels }, preprocess) {
  const plane = width * height;
  const out = new Float32Array(3 * plane);
  const f = Math.fround; // every step in float32, as in torch
  for (let c = 0; c < 3; c++) {
    const mean = f(preprocess.mean[c]);
    const std = f(preprocess.std[c]);
    const level = Float32Array.from({ length: 256 }, (_, v) => f(f(f(v / 255) - mean) / std));
    for (let i = 0; i < plane; i++) out[c * plane + i] = level[pixels[3 * i + c]];
  }
  return out;
}
