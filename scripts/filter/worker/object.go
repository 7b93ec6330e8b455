package worker

import "github.com/dop251/goja"

// An object shows one machine an object of the event, read-only. It is made
// anew for each event and machine: whatever a filter does to it (setting its
// prototype, say) no other filter sees.
type object struct {
	vm   *goja.Runtime
	n    *nested
	kids []*goja.Object // what shows the nested ones, made when first read
}

// show returns what shows n to the machine.
func show(vm *goja.Runtime, n *nested) *goja.Object {
	if n.list {
		return vm.NewDynamicArray(&list{object{vm: vm, n: n}})
	}
	return vm.NewDynamicObject(&object{vm: vm, n: n})
}

func (o *object) at(i int) goja.Value {
	it := o.n.item(i)
	if it.nested == nil {
		return it.value
	}
	if o.kids == nil {
		o.kids = make([]*goja.Object, len(o.n.items))
	}
	if o.kids[i] == nil {
		o.kids[i] = show(o.vm, it.nested)
	}
	return o.kids[i]
}

// refuse throws what every attempt at changing the event gets.
func (o *object) refuse() bool {
	panic(o.vm.NewTypeError("Cannot change the event: it is read-only"))
}

// Get is of goja.DynamicObject.
func (o *object) Get(key string) goja.Value {
	if i := o.n.find(key); i >= 0 {
		return o.at(i)
	}
	return nil
}

// Has is of goja.DynamicObject.
func (o *object) Has(key string) bool { return o.n.find(key) >= 0 }

// Set is of goja.DynamicObject.
func (o *object) Set(string, goja.Value) bool { return o.refuse() }

// Delete is of goja.DynamicObject.
func (o *object) Delete(key string) bool { return !o.Has(key) || o.refuse() }

// Keys is of goja.DynamicObject.
func (o *object) Keys() []string { return o.n.keys }

// A list is an object that is an array.
type list struct{ object }

// Len is of goja.DynamicArray.
func (l *list) Len() int { return len(l.n.items) }

// Get is of goja.DynamicArray.
func (l *list) Get(i int) goja.Value {
	if i < 0 || i >= len(l.n.items) {
		return nil
	}
	return l.at(i)
}

// Set is of goja.DynamicArray.
func (l *list) Set(int, goja.Value) bool { return l.refuse() }

// SetLen is of goja.DynamicArray.
func (l *list) SetLen(int) bool { return l.refuse() }
