package config

import (
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const maxText = 1024 // bytes in any text value

// words are any text on one line.
var words = kind[string]{"text", checkText, yamlText}

// filePath is the name of a file; that it exists is not checked here.
var filePath = kind[string]{"a file", checkText, yamlText}

func checkText(s string) (string, *fault) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", &fault{quote(s) + " has control characters", "remove them"}
	}
	return s, nil
}

var (
	plainText    = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)
	plainAddress = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]+$`)
	hostName     = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)
	scheme       = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
)

// yamlText writes a text so that YAML reads it back as that text.
func yamlText(s string) string {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off":
	default:
		if plainText.MatchString(s) {
			return s
		}
	}
	return strconv.Quote(s)
}

// address is host:port.
var address = kind[string]{"host:port", func(s string) (string, *fault) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", &fault{msg: quote(s) + " is not host:port"}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || port[0] == '+' {
		return "", &fault{msg: quote(s) + " has port " + quote(port) + ": 0 to 65535 is allowed (0 = any free port)"}
	}
	ip, _, _ := strings.Cut(host, "%")
	if host != "" && net.ParseIP(ip) == nil && !hostName.MatchString(host) {
		return "", &fault{msg: quote(host) + " is neither an IP address nor a host name"}
	}
	return s, nil
}, func(s string) string {
	if plainAddress.MatchString(s) {
		return s
	}
	return strconv.Quote(s) // YAML takes [::1]:80 for a list
}}

// origin is a web origin, as in the Origin header (RFC 6454, section 6.2), or "*".
var origin = kind[string]{`scheme://host[:port] or "*"`, func(s string) (string, *fault) {
	const hint = "write for example https://dash.example.com, or \"*\" alone for every origin"
	if s == "*" {
		return s, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || !scheme.MatchString(u.Scheme):
		return "", &fault{quote(s) + " is no origin", hint}
	case strings.Contains(s, "*"):
		return "", &fault{quote(s) + " has a * in it", "name each origin, or write \"*\" alone for every origin"}
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", &fault{quote(s) + " goes on after the host", "write " + u.Scheme + "://" + u.Host}
	case u.User != nil:
		return "", &fault{quote(s) + " has a user name in it", hint}
	}
	return checkOrigin(s, u, hint)
}, yamlText}

// checkOrigin checks host and port, and returns the origin as a browser writes it.
func checkOrigin(s string, u *url.URL, hint string) (string, *fault) {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if n, err := strconv.Atoi(port); strings.HasSuffix(u.Host, ":") || port != "" && (err != nil || n < 1 || n > 65535) {
		return "", &fault{quote(s) + " has a port outside 1 to 65535", hint}
	}
	if strings.HasPrefix(u.Host, "[") && net.ParseIP(host) != nil {
		host = "[" + host + "]"
	} else if !hostName.MatchString(host) {
		return "", &fault{quote(s) + " has no valid host name", hint}
	}
	if port != "" && (u.Scheme != "https" || port != "443") && (u.Scheme != "http" || port != "80") {
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}

// readable is an absolute path with wildcards.
var readable = kind[string]{"an absolute path", func(s string) (string, *fault) {
	if _, f := checkText(s); f != nil {
		return "", f
	}
	drive := len(s) > 2 && s[1] == ':' && s[2] == '/'
	switch _, err := path.Match(s, ""); {
	case err != nil:
		return "", &fault{quote(s) + " is no pattern: a [ or \\ is not complete", "write for example /sys/class/thermal/*/temp"}
	case !strings.HasPrefix(s, "/") && !drive:
		return "", &fault{quote(s) + " is no absolute path", "begin it with /, for example /proc/loadavg"}
	case strings.Contains(s, "**"):
		return "", &fault{quote(s) + " has ** in it, which is not supported", "write one * for each folder, for example /sys/class/*/*/temp"}
	case path.Clean(s) != s:
		return "", &fault{quote(s) + " has . or .. or an extra / in it", "write " + path.Clean(s)}
	}
	return s, nil
}, yamlText}

// scriptPattern is a script's path in the scripts folder, with wildcards.
var scriptPattern = kind[string]{"a script", func(s string) (string, *fault) {
	if _, f := checkText(s); f != nil {
		return "", f
	}
	if _, err := path.Match(s, ""); err != nil {
		return "", &fault{quote(s) + " is no pattern: a [ or \\ is not complete", `write for example host.js or "lights/*.js"`}
	}
	if s == "" || len(s) > maxText || strings.HasPrefix(s, "/") || path.Clean(s) != s || strings.HasPrefix(s, "..") {
		return "", &fault{quote(s) + " is no path in the scripts folder", `write for example host.js or "lights/*.js"`}
	}
	return s, nil
}, yamlText}
