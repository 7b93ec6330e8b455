package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
)

type tlsSettings struct {
	CA       string `json:"ca"`
	Cert     string `json:"cert"`
	Key      string `json:"key"`
	Insecure bool   `json:"insecure"`
}

// readTLS makes what TLS needs of the files that the configuration names. Where TLS is not used,
// nothing of it may be said: whoever says it believes that the connection is safe.
func (r *reader) readTLS() {
	t, scheme := r.TLS, r.url.Scheme
	switch {
	case r.Listen != "":
		if t == nil {
			return
		}
		if t.CA != "" {
			r.complain("/tls/ca", "must not be there with listen: the adapter's own broker asks devices for a name and a password, at users, and for no certificates")
		}
		if t.Insecure {
			r.complain("/tls/insecure", "must not be there with listen: it is for connections to another broker")
		}
	case scheme == "mqtt" || scheme == "ws":
		if t != nil {
			r.complain("/tls", "must not be there with %s://: write %[1]ss://, or leave tls out", scheme)
		}
		return
	case t == nil:
		t = &tlsSettings{}
	}
	r.tls = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.CA != "" && r.Listen == "" {
		r.tls.RootCAs = x509.NewCertPool()
		if text := r.readFile("/tls/ca", t.CA); text != nil && !r.tls.RootCAs.AppendCertsFromPEM(text) {
			r.complain("/tls/ca", "%s holds no certificate in PEM", t.CA)
		}
	}
	r.readPair(t)
}

// readPair reads a certificate and its key.
func (r *reader) readPair(t *tlsSettings) {
	if t.Cert == "" && t.Key == "" && r.Listen == "" {
		return
	}
	if t.Cert == "" {
		r.complain("/tls/cert", "is missing: the certificate that goes with key, a file in PEM")
	}
	if t.Key == "" {
		r.complain("/tls/key", "is missing: the private key that goes with cert, a file in PEM")
	}
	if t.Cert == "" || t.Key == "" {
		return
	}
	cert, key := r.readFile("/tls/cert", t.Cert), r.readFile("/tls/key", t.Key)
	if cert == nil || key == nil {
		return
	}
	if err := validCertificate(cert); err != "" {
		r.complain("/tls/cert", "%s %s", t.Cert, err)
		return
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		r.complain("/tls/key", "%s is no key of that certificate: %v", t.Key, err)
	}
	r.tls.Certificates = []tls.Certificate{pair}
}

// readFile returns nil, and complains, if it can't be read.
func (r *reader) readFile(field, name string) []byte {
	text, err := os.ReadFile(name)
	if err != nil {
		r.complain(field, "can't be read: %v", err)
		return nil
	}
	return append([]byte{}, text...) // not nil
}

// validCertificate says what is wrong with the first certificate in a text.
func validCertificate(text []byte) string {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return "holds no certificate in PEM"
		}
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return "holds no valid certificate: " + err.Error()
			}
			return ""
		}
	}
}
