package models

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// namings are tried in this order.
var namings = []*naming{timmNaming, huggingFaceNaming, clipNaming, torchvisionNaming, jaxNaming}

// viewOf recognises whose names a checkpoint has and shows it under timm's:
// those of VisionTransformer, and
//
//   - blocks.N.attn.qkv is one tensor, of three parts where q, k and v are
//     stored apart; its bias has zeros for a key without one;
//   - LayerScale is blocks.N.ls1.gamma and ls2.gamma, whatever timm calls it;
//   - a gated MLP has fc1_g (the gate, behind the activation), fc1_x and fc2,
//     also where the first two are stored as one;
//   - attn.norm and mlp.norm are EVA-02's norms before attn.proj and mlp.fc2;
//   - attn.relative_position_bias_table is a block's, and
//     rel_pos_bias.relative_position_bias_table that which all share;
//   - attn_pool.{latent,q,kv,proj,norm,mlp} is attention pooling.
//
// Names that no rule speaks of keep the checkpoint's, so that the comparison
// with an architecture reports them, unless they lie outside of the tower of
// the image: those are listed in unused.
func viewOf(c *Checkpoint) (*view, error) {
	for _, n := range namings {
		prefixes := n.prefixes(c)
		for _, prefix := range prefixes {
			w, err := n.show(c, prefix)
			if err != nil {
				return nil, err
			}
			if n.first == "" || w.has(n.first) {
				w.noteOthers(prefixes)
				return w, nil
			}
		}
	}
	return plainView(c), nil
}

// noteOthers says which tower is taken where there are several.
func (w *view) noteOthers(prefixes []string) {
	var names []string
	for _, p := range append([]string{w.prefix}, prefixes...) {
		name := strings.TrimRight(p, "./")
		if name == "" {
			name = "no prefix"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) > 1 {
		w.notes = append(w.notes, fmt.Sprintf("the weights are those under %s; the file has others under %s, which have to be saved alone to be taken", names[0], strings.Join(names[1:], ", ")))
	}
}

// prefixes lists what comes before the patch embedding's weight, the most
// likely to be meant first: a teacher or an average of weights rather than a
// student.
func (n *naming) prefixes(c *Checkpoint) []string {
	var out []string
	for _, name := range c.names {
		for _, stem := range n.stems {
			prefix, ok := strings.CutSuffix(name, stem)
			if ok && (prefix == "" || strings.ContainsAny(prefix[len(prefix)-1:], "./")) && !slices.Contains(out, prefix) {
				out = append(out, prefix)
			}
		}
	}
	rank := func(prefix string) int {
		switch {
		case strings.Contains(prefix, "teacher"), strings.Contains(prefix, "ema"):
			return 0
		case strings.Contains(prefix, "student"), strings.Contains(prefix, "momentum"), strings.Contains(prefix, "target"):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// show applies the rules to every tensor of the checkpoint.
func (n *naming) show(c *Checkpoint, prefix string) (*view, error) {
	w := &view{layout: n.layout, source: c, prefix: prefix, tensors: map[string]*viewed{}}
	outer := levels(prefix)
	blocks := n.blocks(c, prefix)
	for _, name := range c.names {
		dims := c.tensors[name].Dims
		inner, inside := strings.CutPrefix(name, prefix)
		found := false
		if inside {
			if n.rewrite != nil {
				inner = n.rewrite(inner)
			}
			for _, r := range slices.Concat(n.rules, n.heads) {
				found = w.add(r, inner, name, dims, blocks) || found
			}
		}
		for _, level := range outer {
			if short, ok := strings.CutPrefix(name, level); ok && !found {
				for _, r := range n.heads {
					found = w.add(r, short, name, dims, blocks) || found
				}
			}
		}
		switch {
		case found:
		case inside && !idleName.MatchString(inner):
			if !n.keep {
				inner = name
			}
			w.put(inner, 0, dims, part{source: name})
		default:
			w.unused = append(w.unused, name)
		}
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	if n.settle != nil {
		n.settle(w)
	}
	return w, nil
}

// levels lists what begins a prefix, the longest first, without itself:
// module.vit. has module. and the empty one.
func levels(prefix string) []string {
	var out []string
	for prefix != "" {
		i := strings.LastIndexAny(prefix[:len(prefix)-1], "./")
		prefix = prefix[:i+1]
		out = append(out, prefix)
	}
	return out
}

// blocks is the number of blocks of tensors that hold all of them.
func (n *naming) blocks(c *Checkpoint, prefix string) int64 {
	for _, r := range n.rules {
		if t := c.tensors[prefix+r.from]; t != nil && strings.Contains(r.to, "#") && !strings.Contains(r.from, "#") && len(t.Dims) > 0 {
			return min(t.Dims[0], 1000)
		}
	}
	return 0
}

// add shows a tensor as a rule says, if the rule speaks of it.
func (w *view) add(r rule, name, source string, dims []int64, blocks int64) bool {
	number, rest, ok := match(r.from, name)
	if !ok {
		return false
	}
	as := r.as
	if as == nil {
		as = func(dims []int64) (part, []int64, bool) { return part{}, dims, true }
	}
	if strings.Contains(r.to, "#") && !strings.Contains(r.from, "#") {
		if len(dims) == 0 || dims[0] != blocks {
			return false
		}
		p, result, ok := as(dims[1:])
		if !ok || p.slice != nil {
			return false
		}
		for i := range blocks {
			p.source, p.slice, p.dims = source, &[3]int64{0, i, i + 1}, result
			if p.perm != nil && i == 0 {
				p.perm = behindFirst(p.perm)
			}
			w.put(expand(r.to, strconv.FormatInt(i, 10), rest), r.slot, result, p)
		}
		return true
	}
	p, result, ok := as(dims)
	if !ok {
		return false
	}
	p.source = source
	return w.put(expand(r.to, number, rest), r.slot, result, p)
}

// behindFirst leaves the first axis where it is and permutes the others.
func behindFirst(perm []int64) []int64 {
	out := []int64{0}
	for _, axis := range perm {
		out = append(out, axis+1)
	}
	return out
}

// put adds a part of a shape to a tensor; a slot that is taken stays as it is.
func (w *view) put(name string, slot int, dims []int64, p part) bool {
	t := w.tensors[name]
	switch {
	case t == nil:
		t = &viewed{dims: slices.Clone(dims)}
		w.tensors[name] = t
	case slot < len(t.parts) && t.parts[slot].source != "", len(dims) == 0 || len(t.dims) == 0 || !slices.Equal(dims[1:], t.dims[1:]):
		return false
	default:
		t.dims[0] += dims[0]
	}
	for len(t.parts) <= slot {
		t.parts = append(t.parts, part{dims: dims})
	}
	t.parts[slot] = p
	return true
}

// finish settles what shows when all tensors are there: biases that q, k or v
// lacks beside others are zero, gates stand apart, and CLIP's projection is the
// head where there is no other.
func (w *view) finish() error {
	for name, t := range w.tensors {
		for _, p := range t.parts {
			switch {
			case p.source != "":
			case len(p.dims) == 1:
				t.dims[0] += p.dims[0]
			default:
				return &Error{Path: w.source.Path, Problem: fmt.Sprintf("only some of the tensors that make up timm's %s are there", name),
					Advice: "take another copy of the checkpoint"}
			}
		}
	}
	w.splitGates()
	if w.has("attn_pool.latent") && !w.has("head.weight") {
		w.notes = append(w.notes, "the logits are the embedding of the picture by attention pooling, as there is no classifier")
	}
	if p := w.tensors[projection]; p != nil {
		if w.has("head.weight") {
			w.drop(projection)
		} else {
			w.tensors["head.weight"], w.embeds = p, true
			delete(w.tensors, projection)
			w.notes = append(w.notes, fmt.Sprintf("the logits are CLIP's embedding of the picture by %s, as there is no classifier", p.parts[0].source))
		}
	}
	return nil
}

// drop takes a tensor out that the model doesn't use.
func (w *view) drop(name string) {
	t := w.tensors[name]
	if t == nil {
		return
	}
	delete(w.tensors, name)
	for _, p := range t.parts {
		if !slices.Contains(w.unused, p.source) {
			w.unused = append(w.unused, p.source)
		}
	}
}

// splitGates shows a gated MLP's first layer as gate and value, where both are
// stored as one and where only the gate has a name of its own.
func (w *view) splitGates() {
	for name, t := range w.tensors {
		block, ok := strings.CutSuffix(name, ".mlp.fc1.weight")
		if !ok {
			continue
		}
		gated, out := w.has(block+".mlp.fc1_g.weight"), w.tensors[block+".mlp.fc2.weight"]
		packed := !gated && out != nil && len(t.dims) == 2 && len(out.dims) == 2 && t.dims[0] == 2*out.dims[1]
		if !gated && !packed {
			continue
		}
		for _, kind := range []string{".weight", ".bias"} {
			both := w.tensors[block+".mlp.fc1"+kind]
			if both == nil {
				continue
			}
			delete(w.tensors, block+".mlp.fc1"+kind)
			if gated {
				w.tensors[block+".mlp.fc1_x"+kind] = both
				continue
			}
			for i, half := range []string{".mlp.fc1_g", ".mlp.fc1_x"} {
				if p, dims, ok := rows(int64(i), int64(i)+1, 2)(both.dims); ok {
					p.source = both.parts[0].source
					w.put(block+half+kind, 0, dims, p)
				}
			}
		}
	}
}

// idleName tells tensors inside the tower that inference doesn't use: buffers,
// and what pretraining leaves behind.
var idleName = regexp.MustCompile(`^(.*\b(mask_token|relative_position_index|k_bias|bias_mask|position_ids|num_batches_tracked)|(.*\.)?rope\w*\.(freqs|freqs_cos|freqs_sin|periods|inv_freq)|` +
	`(pooler\.dense|decoder\w*|lm_head|local_cls_norm|projectors|head\.(\d+|mlp|last_layer))\..*|decoder_pos_embed)$`)
