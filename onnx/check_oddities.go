package onnx

import "fmt"

// publishedIR is the IR version that ai.onnx opsets were published with, from
// opset 9 on. Exporters write older ones, and runtimes take them.
var publishedIR = []int64{9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10,
	23: 11, 24: 12, 25: 13, 26: 13}

// Oddities tells what is unusual in a model without breaking it, and which of
// its operators Check knows nothing of.
func Oddities(m *Model) []Problem {
	c := &checker{}
	if m.Graph == nil {
		return nil
	}
	opset := m.OpsetVersion("")
	if opset > 0 && opset < int64(len(publishedIR)) && m.IRVersion < publishedIR[opset] {
		c.add("model", "its IR version is %d, and opset %d was published with %d", m.IRVersion, opset, publishedIR[opset])
	}
	if opset > newestOpset {
		c.add("model", "its opset is %d, and operators are known up to opset %d", opset, newestOpset)
	}
	if m.IRVersion < 8 && len(m.Functions) > 0 {
		c.add("model", "it holds functions, which came with IR version 8, and its own is %d", m.IRVersion)
	}
	if m.Graph.Name == "" {
		c.add("graph", "it has no name, which ONNX's checker wants")
	}
	c.unknown(m)
	c.unused(m.Graph)
	return c.problems
}

// unknown counts the nodes whose operators the table doesn't have.
func (c *checker) unknown(m *Model) {
	own := map[[2]string]bool{}
	for _, f := range m.Bodies {
		own[f.key()] = true
	}
	table, _ := operators()
	count := map[string]int{}
	var domains []string
	for _, n := range m.Graph.Nodes {
		if n.Domain == "" || own[[2]string{n.Domain, n.Op}] || table[n.Domain+":"+n.Op] != nil {
			continue
		}
		if count[n.Domain]++; count[n.Domain] == 1 {
			domains = append(domains, n.Domain)
		}
	}
	for _, d := range domains {
		c.add("domain "+d, "%s of operators that aren't known here, and weren't checked", plural(count[d], "node"))
	}
}

// unused counts the nodes and initializers that no output needs.
func (c *checker) unused(g *Graph) {
	pruned, _ := g.Clone()
	pruned.Prune()
	if n := len(g.Nodes) - len(pruned.Nodes); n > 0 {
		c.add("graph", "%s that no output needs", plural(n, "node"))
	}
	if n := len(g.Inits) - len(pruned.Inits); n > 0 {
		c.add("graph", "%s that no output needs", plural(n, "initializer"))
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
