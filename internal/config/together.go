package config

// together checks what one key alone does not show.
func (p *parser) together(c *Config) {
	tls := c.Server.TLS
	switch {
	case tls.Cert != "" && tls.Key == "":
		p.failKey("server.tls.cert", "is set without server.tls.key", "set both, or none for plain HTTP")
	case tls.Cert == "" && tls.Key != "":
		p.failKey("server.tls.key", "is set without server.tls.cert", "set both, or none for plain HTTP")
	}
	jwt := c.Auth.JWT
	if jwt.HS256SecretFile == "" && len(jwt.PublicKeyFiles) == 0 {
		const msg, hint = "is set, but no token can be checked", "set auth.jwt.hs256_secret_file or auth.jwt.public_key_files, too"
		if jwt.Issuer != "" {
			p.failKey("auth.jwt.issuer", msg, hint)
		}
		if jwt.Audience != "" {
			p.failKey("auth.jwt.audience", msg, hint)
		}
	}
	if origins := c.Server.CORS.Origins; len(origins) > 1 {
		for _, o := range origins {
			if o == "*" {
				p.failKey("server.cors.origins", `has "*" beside others`, `write ["*"] for every origin, or remove it`)
			}
		}
	}
	if l := c.Limits; l.Streams > 0 {
		const msg, hint = "is more than limits.streams", "make it smaller, or 0 for no limit"
		if l.StreamsPerAddress > l.Streams {
			p.failKey("limits.streams_per_address", msg, hint)
		}
		if l.StreamsPerCredential > l.Streams {
			p.failKey("limits.streams_per_credential", msg, hint)
		}
	}
}

// failKey reports a mistake in a key's line, unless that key's own value already
// was one: then it is not known what was meant.
func (p *parser) failKey(path, msg, hint string) {
	pos := p.lines[path]
	for _, e := range p.errs {
		if pos != nil && e.Line == pos.Line {
			return
		}
	}
	p.fail(pos, path, fault{msg, hint})
}
