package onnx

// plainDomain is "" for ai.onnx, which has two names.
func plainDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// key is how nodes call the function.
func (f *Function) key() [2]string { return [2]string{plainDomain(f.Domain), f.Name} }

// function checks a model-local function: its body, and that it never comes to
// call itself.
func (c *checker) function(f *Function) {
	before := len(c.problems)
	c.bodies = true
	imports := Model{Opsets: f.Opsets}
	c.graph(f.Body, imports.OpsetVersion)
	where := "function " + qualified(f.Domain, f.Name)
	for i := before; i < len(c.problems); i++ {
		c.problems[i].Where = where + ", " + c.problems[i].Where
	}
	if c.recurs(f) {
		c.add(where, "it calls itself")
	}
}

// recurs reports whether f can be reached from its own body.
func (c *checker) recurs(f *Function) bool {
	seen := map[*Function]bool{}
	for open := []*Function{f}; len(open) > 0; {
		g := open[len(open)-1]
		open = open[:len(open)-1]
		for _, n := range g.Body.Nodes {
			called := c.functions[[2]string{n.Domain, n.Op}]
			if called == f {
				return true
			}
			if called != nil && !seen[called] {
				seen[called] = true
				open = append(open, called)
			}
		}
	}
	return false
}
