package models

import (
	"fmt"
	"slices"
)

// image finds the image's size, the grid of the checkpoint's positions, and
// whether prefix tokens have positions. --image-size is the size that the model
// shall have; any other statement is about the checkpoint's own.
func (r *reading) image(opt Options) error {
	a := r.a
	grid, err := r.ownGrid(opt.ImageSize)
	if err != nil {
		return err
	}
	target := opt.ImageSize
	v, s := say(r, func(s *args) *pair { return s.Image })
	if target == [2]int{} && v != nil && (s.explicit || grid == [2]int{} || grid == r.gridOf(*v)) {
		target = *v
		if err := r.divides(target, grid, s.source, s.explicit); err != nil {
			return err
		}
	}
	switch {
	case target != [2]int{}:
		a.ImageSize = target
	case grid != [2]int{}:
		a.ImageSize = [2]int{grid[0] * a.Patch[0], grid[1] * a.Patch[1]}
	default:
		a.ImageSize = [2]int{max(1, 224/a.Patch[0]) * a.Patch[0], max(1, 224/a.Patch[1]) * a.Patch[1]}
		r.warn("positions fit pictures of any size; %dx%d is taken, state another by --image-size", a.ImageSize[0], a.ImageSize[1])
	}
	if err := r.divides(a.ImageSize, grid, "as stated", opt.ImageSize != [2]int{}); err != nil {
		return err
	}
	if now := a.Grid(); grid != [2]int{} && now != grid {
		a.stored = grid
		r.warn("the positions of %dx%d patches are resampled to %dx%d", grid[0], grid[1], now[0], now[1])
	}
	return nil
}

// divides checks that patches cut a picture without a rest. Only a size that is
// stated as the model's own may have one, as SigLIP's 384 has with patches of 14.
func (r *reading) divides(size, own [2]int, source string, usage bool) error {
	p := r.a.Patch
	stated := slices.ContainsFunc(r.statements, func(s *statement) bool { return s.args.Image != nil && [2]int(*s.args.Image) == size })
	if g := r.gridOf(size); g != [2]int{} && (g == own && stated || size[0]%p[0] == 0 && size[1]%p[1] == 0) {
		return nil
	}
	rounded := func(i int) int { return max(1, (size[i]+p[i]/2)/p[i]) * p[i] }
	return &Error{Path: r.c.Path, Usage: usage,
		Problem: fmt.Sprintf("pictures of %dx%d (%s) are no multiple of the patches' %dx%d pixels", size[0], size[1], source, p[0], p[1]),
		Advice:  fmt.Sprintf("the nearest size is %dx%d", rounded(0), rounded(1))}
}

// ownGrid is the patch grid of the checkpoint's positions; zero where it has
// none. A grid that isn't square must be stated, or be that of the target.
func (r *reading) ownGrid(target [2]int) ([2]int, error) {
	a := r.a
	var count int                // of positions
	var wanted func([2]int) bool // whether a grid has as many
	switch {
	case a.Positions:
		d, err := r.dims("pos_embed", "(1,tokens,width)")
		if err != nil {
			return [2]int{}, err
		}
		count = d[1]
		wanted = func(g [2]int) bool {
			n := g[0] * g[1]
			a.NoEmbedClass = n == count && a.Prefix() > 0
			a.OnlyClassEmb = n+1 == count && a.Registers > 0 && a.ClassToken && !a.DistToken
			return n == count || n+a.Prefix() == count || a.OnlyClassEmb
		}
	case a.RelBias || a.SharedRelBias:
		name := "rel_pos_bias.relative_position_bias_table"
		if a.RelBias {
			name = "blocks.0.attn.relative_position_bias_table"
		}
		d, err := r.dims(name, "(distances,heads)")
		if err != nil {
			return [2]int{}, err
		}
		count = d[0]
		wanted = func(g [2]int) bool { return (2*g[0]-1)*(2*g[1]-1)+3 == count }
	default:
		return [2]int{}, nil
	}
	if g, ok := r.statedGrid(wanted); ok {
		return g, nil
	}
	if t := r.gridOf(target); t != [2]int{} && wanted(t) {
		return t, nil
	}
	if g, ok := r.squareGrid(count, false); ok && wanted(g) {
		return g, nil
	}
	if g, ok := r.squareGrid(count, true); ok && wanted(g) {
		r.warn("the image size is a guess: the %d position embeddings are taken for %dx%d patches without the prefix tokens, as %d are no square; "+
			"if it is another, state it by --arch '{\"img_size\": [ROWS, COLUMNS]}'", count, g[0], g[1], count-a.Prefix())
		return g, nil
	}
	return [2]int{}, r.fail("state rows and columns of the image by --image-size HxW",
		"the %d position embeddings (%d without the prefix tokens) are no square grid, so the tensors don't tell the image size", count, count-a.Prefix())
}

// gridOf is the number of whole patches of a picture, zero where there is none.
func (r *reading) gridOf(size [2]int) [2]int {
	p := r.a.Patch
	if size[0] < p[0] || size[1] < p[1] {
		return [2]int{}
	}
	return [2]int{size[0] / p[0], size[1] / p[1]}
}

// statedGrid is the first stated one that has as many positions as there are.
func (r *reading) statedGrid(wanted func([2]int) bool) ([2]int, bool) {
	for _, s := range r.statements {
		if s.args.Image == nil {
			continue
		}
		if g := r.gridOf(*s.args.Image); g != [2]int{} && wanted(g) {
			return g, true
		}
		if !s.explicit && !s.likeness {
			r.warn("%s says that images are %dx%d, which doesn't fit the checkpoint's positions: not used", s.source, s.args.Image[0], s.args.Image[1])
		}
	}
	return [2]int{}, false
}

// squareGrid is the square grid of a number of positions, with or without
// those of prefix tokens.
func (r *reading) squareGrid(count int, bare bool) ([2]int, bool) {
	a := r.a
	if !a.Positions {
		side, ok := squareRoot(count - 3)
		return [2]int{(side + 1) / 2, (side + 1) / 2}, ok && side%2 == 1 && !bare
	}
	n := count - a.Prefix()
	if bare {
		n = count
	}
	root, ok := squareRoot(n)
	if !ok && !bare && a.Registers > 0 { // DINOv2's registers have no position
		root, ok = squareRoot(count - 1)
	}
	return [2]int{root, root}, ok
}
