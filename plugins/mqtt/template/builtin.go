package template

import (
	"maps"
	"strings"
)

// A builtin is a filter, a test, a method or a function. Names of parameters
// that may be left out end with a question mark.
type builtin struct {
	params []string
	rest   bool // takes any number of further arguments
	call   func(e *env, args []Value) Value

	// check looks at arguments when the template is parsed; nil without one.
	check func(p *parser, t *token, args []node)
	// special makes a node of its own instead.
	special func(p *parser, t *token, args []node, keywords []keyword) node
}

func (b *builtin) required() int {
	for i, param := range b.params {
		if strings.HasSuffix(param, "?") {
			return i
		}
	}
	return len(b.params)
}

func (b *builtin) place(name string) int {
	for i, param := range b.params {
		if strings.TrimSuffix(param, "?") == name {
			return i
		}
	}
	return -1
}

func define(params string, call func(e *env, args []Value) Value) *builtin {
	return &builtin{params: strings.Fields(params), call: call}
}

// given reports whether an argument was given.
func given(v Value) bool {
	_, ok := v.(missing)
	return !ok
}

func orElse(v, otherwise Value) Value {
	if given(v) {
		return v
	}
	return otherwise
}

// builtins are the tables of what templates may call.
type builtins struct{ filters, tests, methods, functions map[string]*builtin }

var known = newBuiltins()

func newBuiltins() *builtins {
	b := &builtins{map[string]*builtin{}, testTable(), methodTable(), functionTable()}
	for _, table := range []map[string]*builtin{
		numberFilters(), textFilters(), listFilters(), orderFilters(), encodingFilters(), regexFilters(), selectFilters(), clockFilters(),
	} {
		maps.Copy(b.filters, table)
	}
	maps.Copy(b.methods, clockMethods())
	maps.Copy(b.functions, clockFunctions())
	return b
}

// elsewhere are names that Home Assistant defines and this package does not: as
// variables they would silently be undefined.
var elsewhere = words(`states state_attr is_state is_state_attr has_value expand closest distance now utcnow
	today_at as_timestamp as_datetime as_local as_timedelta strptime timedelta time_since time_until relative_time
	timestamp_custom timestamp_local timestamp_utc device_id device_attr is_device_attr device_entities device_name
	area_id area_name area_entities area_devices areas floors labels integration_entities config_entry_id
	config_entry_attr entity_name is_hidden_entity state_translated state_attr_translated issues issue
	average median statistical_mode sin cos tan asin acos atan atan2 sqrt log e pi tau inf clamp wrap remap
	bitwise_and bitwise_or bitwise_xor pack unpack slugify urlencode version typeof combine merge_response
	flatten shuffle intersect difference union symmetric_difference set tuple md5 sha1 sha256 sha512
	lipsum cycler joiner apply as_function random`)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// Python's attributes of its types. Where a key of the same name is taken with a
// dot, Python gives the method.
var (
	dictAttributes = words("clear copy fromkeys get items keys pop popitem setdefault update values")
	dictMutators   = words("clear pop popitem setdefault update")
	listMutators   = words("append extend insert remove reverse sort")
	listAttributes = words("append clear copy count extend index insert pop remove reverse sort")
	strAttributes  = words(`capitalize casefold center count encode endswith expandtabs find format format_map index
		isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper
		join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition
		rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill`)
	intAttributes   = words("as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes")
	floatAttributes = words("as_integer_ratio conjugate fromhex hex imag is_integer real")
)

func hasAttribute(v Value, name string) bool {
	switch v.(type) {
	case *Dict:
		return dictAttributes[name]
	case List:
		return listAttributes[name]
	case Tuple, span:
		return name == "count" || name == "index"
	case string, markup:
		return strAttributes[name]
	case int64, bool:
		return intAttributes[name]
	case float64:
		return floatAttributes[name]
	}
	return false
}
