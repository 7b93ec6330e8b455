package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// readCall reads the data of a service call.
func readCall(service string, data []byte) (*call, error) {
	c := &call{service: service, data: map[string]any{}}
	if len(data) == 0 {
		return c, nil
	}
	m, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("the command's data %w", err)
	}
	c.data = m
	return c, nil
}

func (c *call) has(key string) bool { return c.data[key] != nil }

// num returns a number within bounds.
func (c *call) num(key string, low, high float64) (float64, error) {
	x, ok := asNumber(c.data[key])
	if !ok || x < low || x > high {
		return 0, fmt.Errorf("%s must be a number from %s to %s, and is %.60s", key, formatNumber(low), formatNumber(high), fmt.Sprint(c.data[key]))
	}
	return x, nil
}

// str returns a text; numbers and truth values are taken as they are written.
func (c *call) str(key string) (string, error) {
	switch v := c.data[key].(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("%s must be given, as a text", key)
}

// choice returns a text that is one of all; without any all, any text.
func (c *call) choice(key string, all []string) (string, error) {
	s, err := c.str(key)
	if err == nil && len(all) > 0 && !slices.Contains(all, s) {
		err = fmt.Errorf("%s must be one of %s, and is %.100q", key, strings.Join(all, ", "), s)
	}
	return s, err
}

func (c *call) flag(key string) (bool, error) {
	v, ok := c.data[key].(bool)
	if !ok {
		return false, fmt.Errorf("%s must be true or false", key)
	}
	return v, nil
}

// nums returns a list of n numbers within bounds.
func (c *call) nums(key string, n int, low, high float64) ([]float64, error) {
	list, _ := c.data[key].([]any)
	all := make([]float64, 0, n)
	for _, v := range list {
		if x, ok := asNumber(v); ok && x >= low && x <= high {
			all = append(all, x)
		}
	}
	if len(list) != n || len(all) != n {
		return nil, fmt.Errorf("%s must be a list of %d numbers from %s to %s", key, n, formatNumber(low), formatNumber(high))
	}
	return all, nil
}
