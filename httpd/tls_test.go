package httpd

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// Streams over TLS go through the hub's portable pump; clients see no difference.
func TestTLS(t *testing.T) {
	h := startHome(t, Settings{}, nil)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "home"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}})
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ln) }()
	conn, err := tls.Dial("tcp", plain.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET /api/stream HTTP/1.1\r\nHost: x\r\n"+bearer+"\r\n"); err != nil {
		t.Fatal(err)
	}
	c := &streamClient{t: t, conn: conn, frames: make(chan frame, 100)}
	c.readHead()
	go c.read()
	c.moved()
	h.fire("tick", "{}")
	if f := c.message(); !strings.Contains(f.data, `"event_type":"tick"`) {
		t.Errorf("got %v, want the event", f)
	}
	h.stop()
	c.ends()
	if err := <-served; err != nil {
		t.Errorf("serving TLS: %v", err)
	}
}
