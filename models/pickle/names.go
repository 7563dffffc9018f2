package pickle

import (
	"errors"
	"fmt"
)

// names reads the two lines of GLOBAL and INST.
func (m *machine) names() (module, name string, err error) {
	if module, err = m.line(); err == nil {
		name, err = m.line()
	}
	return module, name, err
}

func runGlobal(m *machine) error {
	module, name, err := m.names()
	if err != nil {
		return err
	}
	return m.global(module, name)
}

func runStackGlobal(m *machine) error {
	v, err := m.take(2)
	if err != nil {
		return err
	}
	module, ok1 := v[0].(string)
	name, ok2 := v[1].(string)
	if !ok1 || !ok2 {
		return fmt.Errorf("a global is named by %s and %s", Kind(v[0]), Kind(v[1]))
	}
	return m.global(module, name)
}

func runReduce(m *machine) error {
	v, err := m.take(2)
	if err != nil {
		return err
	}
	return m.call(v[0], v[1])
}

func runNewObjEx(m *machine) error {
	v, err := m.take(3)
	if err != nil {
		return err
	}
	if d, ok := v[2].(*Dict); !ok || len(d.Keys) > 0 {
		return errors.New("an object is made with named arguments")
	}
	return m.call(v[0], v[1])
}

func runInst(m *machine) error {
	module, name, err := m.names()
	if err != nil {
		return err
	}
	g := Global{module, name}
	if allowed[g] == refused {
		return refuse(g)
	}
	args, err := m.popMark()
	if err != nil {
		return err
	}
	return m.call(g, Tuple(args))
}

func runObj(m *machine) error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	if len(v) == 0 {
		return errStack
	}
	return m.call(v[0], Tuple(v[1:]))
}

func runPersID(m *machine) error {
	id, err := m.pop()
	if err != nil {
		return err
	}
	return m.persist(id)
}

func runPersIDText(m *machine) error {
	id, err := m.line()
	if err != nil {
		return err
	}
	return m.persist(id)
}

func (m *machine) persist(id any) error {
	p := &Persistent{ID: id}
	m.persistent = append(m.persistent, p)
	m.push(p)
	return m.spend(costContainer)
}
