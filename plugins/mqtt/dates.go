package main

import (
	"fmt"
	"time"

	"carillon/plugins/mqtt/template"
)

// setTime takes the state of a sensor of a date or a point in time. Home Assistant forgets
// the state on one that is none.
func (e *entity) setTime(class, value string) error {
	t, zoned, ok := template.ParseTime(value)
	switch {
	case !ok:
		e.unknown()
		return fmt.Errorf("%.60q is no %s as ISO 8601 has it", value, class)
	case class == "date":
		e.set(t.Format(time.DateOnly))
	case !zoned:
		return fmt.Errorf("%.60q tells no time zone", value)
	default:
		e.set(t.UTC().Format("2006-01-02T15:04:05+00:00"))
	}
	return nil
}
