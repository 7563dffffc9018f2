package onnx

import "fmt"

// Fresh returns base if no value of the graph has that name, otherwise base
// with the first free number behind it, and takes the name.
func (g *Graph) Fresh(base string) string {
	if base == "" {
		base = "value"
	}
	name := base
	if g.names[name] {
		i := g.taken[base]
		for g.names[name] {
			i++
			name = fmt.Sprintf("%s_%d", base, i)
		}
		if g.taken == nil {
			g.taken = map[string]int{}
		}
		g.taken[base] = i
	}
	g.claim(name)
	return name
}

// Rename gives a value another name, made unique.
func (g *Graph) Rename(v *Value, name string) {
	if v.Name != name {
		delete(g.names, v.Name)
		clear(g.taken)
		v.Name = g.Fresh(name)
	}
}

func (g *Graph) claim(name string) {
	if g.names == nil {
		g.names = map[string]bool{}
	}
	g.names[name] = true
}
