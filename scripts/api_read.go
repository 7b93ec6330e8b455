package scripts

import "github.com/dop251/goja"

// apiRead is read(path) -> the file's content as a string.
func (g *generation) apiRead(c goja.FunctionCall) goja.Value {
	name := g.text("read: the path", c.Argument(0))
	permissions := g.host.permissions.Load()
	content, err := readFile(name, func(path string) error {
		return mayRead(g.script, &g.manifest, *permissions, path)
	})
	if err != nil {
		g.throw("read: %v", err)
	}
	return g.vm.ToValue(content)
}
