// Runs a model by onnxruntime-web, beside the page's own thread and in a memory
// of its own, one request after the other: {id, op: 'load' | 'explain', ...} is
// answered by {id, result} or {id, error}; loading also tells {id, loaded, bytes}.
import * as ort from './ort.wasm.bundle.min.mjs';

ort.env.logLevel = 'error';
// Threads need memory that is shared, which needs isolation from other origins.
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;

let session;
let ends; // of the model

const operations = {
  async load({ model }, tell) {
    const bytes = model.model.bytes + (model.data?.bytes ?? 0);
    let loaded = 0;
    const read = async (file) => fetchFile(file, (n) => tell({ loaded: (loaded += n), bytes }));
    const options = { executionProviders: ['wasm'], graphOptimizationLevel: 'all' };
    if (model.data) options.externalData = [{ path: model.data.name, data: await read(model.data) }];
    session = await ort.InferenceSession.create(await read(model.model), options);
    ends = model.ends;
  },

  /** images (B,3,H,W) float32 flat, targets a class each or one, -1 for the predicted one. */
  async explain({ images, shape, targets }) {
    const feeds = {
      [ends.image]: new ort.Tensor('float32', images, shape),
      [ends.target]: new ort.Tensor('int64', BigInt64Array.from(targets, BigInt), [targets.length]),
    };
    const began = performance.now();
    const out = await session.run(feeds, [ends.logits, ends.map]);
    return { logits: out[ends.logits].data, maps: out[ends.map].data, seconds: (performance.now() - began) / 1000 };
  },
};

/** fetchFile reads a file of known size, and says how many bytes came. */
async function fetchFile({ name, bytes }, came) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} can’t be loaded: ${answer.status} ${answer.statusText}`);
  const all = new Uint8Array(bytes);
  let n = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (n + value.length > bytes) throw new Error(`${name} has more than its ${bytes} bytes: write the folder again`);
    all.set(value, n);
    n += value.length;
    came(value.length);
  }
  if (n < bytes) throw new Error(`${name} has ${n} of its ${bytes} bytes: write the folder again`);
  return all;
}

/** inWords says what an error means, where its own text doesn't. */
function inWords(error) {
  const text = error?.message ?? String(error);
  if (/bad_alloc|out of memory|allocation failed|failed to allocate|memory access out of bounds|^\d+$/i.test(text)) {
    return 'the model needs more memory than a browser’s WebAssembly has (4 GB at most); take a smaller one';
  }
  return text;
}

let last = Promise.resolve();
self.onmessage = ({ data: { id, op, ...rest } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, result: await operations[op](rest, (news) => self.postMessage({ id, ...news })) });
    } catch (error) {
      self.postMessage({ id, error: inWords(error) });
    }
  });
};
