// The models of this folder, as the page's thread sees them.

/** Model is a model of models.json, which a worker loads and runs. */
export class Model {
  #worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  #asked = new Map(); // by id
  #id = 0;
  #broken = null; // why the worker doesn't run

  constructor(settings) {
    this.settings = settings;
    this.#worker.onmessage = ({ data }) => {
      const asked = this.#asked.get(data.id);
      if (data.loaded !== undefined) return asked?.progress?.(data.loaded, data.bytes);
      this.#asked.delete(data.id);
      if (data.error !== undefined) asked?.reject(new Error(data.error));
      else asked?.resolve(data.result);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#broken = new Error(`onnxruntime-web doesn’t start: ${event.message || 'its files can’t be loaded'}`);
      for (const { reject } of this.#asked.values()) reject(this.#broken);
      this.#asked.clear();
    };
  }

  #ask(message, transfer = [], progress) {
    if (this.#broken) return Promise.reject(this.#broken);
    const id = this.#id++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject, progress });
      this.#worker.postMessage({ id, ...message }, transfer);
    });
  }

  /** load fetches the model; progress hears of the bytes that came, and of how many there are. */
  load(progress) {
    return this.#ask({ op: 'load', model: this.settings }, [], progress);
  }

  /** explain looks at images, (3,H,W) float32 each, for a class each, or for
   * one: {logits (B,C), maps (B,H,W), seconds}. A target of -1 is the predicted class. */
  explain(images, targets) {
    const [channels, height, width] = this.settings.preprocess.input_size;
    const all = new Float32Array(images.length * channels * height * width);
    images.forEach((image, i) => all.set(image, i * image.length));
    return this.#ask({ op: 'explain', images: all, shape: [images.length, channels, height, width], targets }, [all.buffer]);
  }
}

/** probabilities is the softmax of scores, or the scores where they are
 * probabilities already: none negative, and adding up to 1. */
export function probabilities(scores) {
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const p = Float64Array.from(scores);
  if (Math.min(...p) >= 0 && Math.abs(sum(p) - 1) < 1e-3) return p;
  const most = Math.max(...p);
  const e = p.map((v) => Math.exp(v - most));
  const all = sum(e);
  return e.map((v) => v / all);
}

/** top lists the n most probable classes. */
export function top(p, n) {
  return Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b).slice(0, n);
}
