// Package tokencut finds the object of a picture in the tokens of a Vision
// Transformer: TokenCut (Wang et al., CVPR 2022) splits the tokens by a
// normalised cut, and the fast bilateral solver (Barron & Poole, ECCV 2016)
// carries the split over to the picture's edges.
//
// Everything here is arithmetic on slices: no models, no files.
package tokencut
