// The inferno colour map, by the same polynomials as on the command line: Matt
// Zucker's fit of degree 6 to matplotlib's table. Coefficients of rising powers.
const inferno = [
  [0.0002189403691192265, 0.1065134194856116, 11.60249308247187, -41.70399613139459, 77.162935699427, -71.31942824499214, 25.13112622477341],
  [0.001651004631001012, 0.5639564367884091, -3.972853965665698, 17.43639888205313, -33.40235894210092, 32.62606426397723, -12.24266895238567],
  [-0.01948089843709184, 3.932712388889277, -15.9423941062914, 44.35414519872813, -81.80730925738993, 73.20951985803202, -23.07033500287172],
];

/** colour maps a value in [0,1] to [red, green, blue]. */
export function colour(v) {
  const x = v > 0 ? Math.min(v, 1) : 0; // also NaN
  return inferno.map((k) => {
    const y = k.reduceRight((sum, coefficient) => sum * x + coefficient, 0);
    return Math.round(255 * Math.min(Math.max(y, 0), 1));
  });
}

/** paint draws (H,W) colours, at(i) giving the i-th pixel's, on a canvas. */
export function paint(canvas, width, height, at) {
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = at(i);
    image.data.set([r, g, b, 255], 4 * i);
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}
