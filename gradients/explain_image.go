package gradients

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// InputGradient is Simonyan et al.'s (2014): the largest of the channels'
// |dlogit/dx|, scaled to [0,1] per image.
func InputGradient(b *onnx.Builder, s Subject, target *onnx.Value) (Relevance, error) {
	slope, err := s.slope(b, target)
	if err != nil {
		return Relevance{}, err
	}
	former := b.In("input-gradient")
	defer b.In(former)
	return s.pixels(b, "input-gradient", b.Reduce("ReduceMax", b.Op("Abs", nil, slope), false, 1)), nil
}

// slope is the gradient of the target's logit with respect to the picture:
// (B,3,H,W).
func (s Subject) slope(b *onnx.Builder, target *onnx.Value) (*onnx.Value, error) {
	grads, err := walkLogit(b, s, target, []*onnx.Value{s.Image})
	if err != nil {
		return nil, err
	}
	if grads[0] == nil {
		return nil, fmt.Errorf("the logits %s don't depend on the image %s", s.Logits.Name, s.Image.Name)
	}
	return grads[0], nil
}

// pixels is the map of what every pixel has: (B,H,W).
func (s Subject) pixels(b *onnx.Builder, method string, v *onnx.Value) Relevance {
	batch, h, w := v.Shape[0], v.Shape[1], v.Shape[2]
	scaled, constant := scale(b, method, b.Reshape(v, onnx.Shape{batch, onnx.D(h.N * w.N)}))
	return Relevance{Map: b.Named(method+"/map", b.Reshape(scaled, onnx.Shape{batch, onnx.D(1), h, w})), Constant: constant}
}

// SumOfSlopes adds to a sum (1,3,H,W) the gradients of the target's logit with
// respect to each picture of a batch, times its weight: (B). The pictures are
// variations of one, so that runs over many of them add up the average which
// IntegratedGradients and SmoothGrad are made of.
func SumOfSlopes(b *onnx.Builder, s Subject, target, weight, sum *onnx.Value) (*onnx.Value, error) {
	slope, err := s.slope(b, target)
	if err != nil {
		return nil, err
	}
	former := b.In("slopes")
	defer b.In(former)
	batch := slope.Shape[0].N
	flat := b.Reshape(slope, onnx.ShapeOf(batch, slope.Shape[1:].Count().N))
	new := b.MatMul(b.Reshape(weight, onnx.ShapeOf(1, batch)), flat)
	return b.Add(sum, b.Reshape(new, sum.Shape)), nil
}

// IntegratedGradients is Sundararajan et al.'s (ICML 2017) towards a baseline
// of zeros: slopes is the average gradient on the way from there to the picture,
// both (1,3,H,W). What a pixel adds to the logit is
//
//	sum over channels of slope x
//
// which is returned as added (1,H,W); the map is of its absolute value.
func IntegratedGradients(b *onnx.Builder, s Subject, slopes, picture *onnx.Value) (r Relevance, added *onnx.Value) {
	former := b.In("integrated-gradients")
	defer b.In(former)
	added = b.Sum(b.Mul(slopes, picture), 1)
	return s.pixels(b, "integrated-gradients", b.Op("Abs", nil, added)), added
}

// SmoothGrad is Smilkov et al.'s (2017): InputGradient's map of the average
// gradient (1,3,H,W) over noisy copies of the picture.
func SmoothGrad(b *onnx.Builder, s Subject, slopes *onnx.Value) Relevance {
	former := b.In("smoothgrad")
	defer b.In(former)
	return s.pixels(b, "smoothgrad", b.Reduce("ReduceMax", b.Op("Abs", nil, slopes), false, 1))
}
