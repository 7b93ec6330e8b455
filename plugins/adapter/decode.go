package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Decode stores the configuration in what v points to, as json.Unmarshal does. Fields
// that v doesn't have are refused. Its error is FieldErrors, which name the field and
// what may stand there.
func (c Config) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(c.JSON))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil, err == io.EOF: // nothing at all is an empty object
		return nil
	case errors.As(err, &wrong):
		field := ""
		if wrong.Field != "" {
			field = "/" + strings.ReplaceAll(wrong.Field, ".", "/")
		}
		return FieldErrors{{field, fmt.Sprintf("must be %s, not %s", inWords(wrong.Type), wrong.Value)}}
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		var all any
		if json.Unmarshal(c.JSON, &all) == nil {
			if e := unknown(reflect.TypeOf(v), all, ""); e != nil {
				return FieldErrors{*e}
			}
		}
	}
	return FieldErrors{{"", strings.TrimPrefix(err.Error(), "json: ")}}
}

// inWords returns what a value of a type is called in a configuration.
func inWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object of keys and values"
	case reflect.Pointer:
		return inWords(t.Elem())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	}
	return "of type " + t.String()
}

// unknown returns the first key of v that a value of type t has no place for; nil if
// there is none. The decoder tells its name only, and not where it stands.
func unknown(t reflect.Type, v any, at string) *FieldError {
	if t.Kind() == reflect.Pointer {
		return unknown(t.Elem(), v, at)
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil // it reads its part by itself
	}
	var inner func(key string) reflect.Type // of what stands there; nil if nothing may
	switch t.Kind() {
	case reflect.Struct:
		known := fieldsOf(t)
		inner = func(key string) reflect.Type { return known[strings.ToLower(key)].Type }
	case reflect.Map, reflect.Slice, reflect.Array:
		inner = func(string) reflect.Type { return t.Elem() }
	default:
		return nil
	}
	switch v := v.(type) {
	case []any:
		for i, one := range v {
			if e := unknown(inner(""), one, fmt.Sprint(at, "/", i)); e != nil {
				return e
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			place := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
			next := inner(key)
			if next == nil {
				return &FieldError{place, "is not known; known here are " + strings.Join(names(t), ", ")}
			}
			if e := unknown(next, v[key], place); e != nil {
				return e
			}
		}
	}
	return nil
}

// fieldsOf returns the fields of a struct by their names in JSON, in lower case, as
// the decoder finds them.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	known := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		if name := jsonName(f); name != "" {
			known[strings.ToLower(name)] = f
		}
	}
	return known
}

// names returns the names in JSON of a struct's fields, in their order.
func names(t reflect.Type) (list []string) {
	for _, f := range reflect.VisibleFields(t) {
		if name := jsonName(f); name != "" {
			list = append(list, name)
		}
	}
	return list
}

func jsonName(f reflect.StructField) string {
	tag := f.Tag.Get("json")
	name, _, _ := strings.Cut(tag, ",")
	switch {
	case !f.IsExported(), tag == "-", f.Anonymous && name == "":
		return ""
	case name == "":
		return f.Name
	}
	return name
}
