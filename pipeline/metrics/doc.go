// Package metrics holds the arithmetic of evaluation: intervals and tests for
// accuracies, calibration, relevance maps as segmentations, and how good maps
// are. It knows neither models nor files. Maps are (H,W) float32 in [0,1], all
// zero where a map has no range; masks are (H,W) with foreground above a half.
package metrics
