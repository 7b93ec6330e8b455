package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carillon/plugins/adapter"
)

// What would be silently ignored, or could be of no use, is refused with what to write instead.
func TestSettingsThatMakeNoSense(t *testing.T) {
	dir := t.TempDir()
	cert, key := makeCertificate(t, dir)
	other := filepath.Join(dir, "other.pem")
	if err := os.WriteFile(other, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := strings.NewReplacer("CERT", cert, "KEY", key, "OTHER", other, "MISSING", filepath.Join(dir, "missing"))
	const listen = `{"listen":"127.0.0.1:1883",`
	for config, want := range map[string]string{
		`{"broker":"mqtt://h","tls":{"ca":"CERT"}}`: "/tls must not be there with mqtt://: write mqtts://",
		`{"tls":{}}`: "/tls must not be there with mqtt://: write mqtts://",
		`{"broker":"ws://h","tls":{"insecure":true}}`:                                           "/tls must not be there with ws://: write wss://",
		`{"broker":"mqtts://h","tls":{"ca":"MISSING"}}`:                                         "/tls/ca can't be read",
		`{"broker":"mqtts://h","tls":{"ca":"KEY"}}`:                                             "/tls/ca KEY holds no certificate",
		`{"broker":"mqtts://h","tls":{"cert":"CERT"}}`:                                          "/tls/key is missing",
		`{"broker":"mqtts://h","tls":{"key":"KEY"}}`:                                            "/tls/cert is missing",
		listen + `"tls":{"ca":"CERT","cert":"CERT","key":"KEY"}}`:                               "/tls/ca must not be there with listen",
		listen + `"tls":{"insecure":true}}`:                                                     "/tls/cert is missing",
		listen + `"tls":{"insecure":true,"cert":"CERT","key":"KEY"}}`:                           "/tls/insecure must not be there",
		listen + `"tls":{"cert":"CERT"}}`:                                                       "/tls/key is missing",
		listen + `"tls":{"cert":"MISSING","key":"KEY"}}`:                                        "/tls/cert can't be read",
		listen + `"tls":{"cert":"CERT","key":"MISSING"}}`:                                       "/tls/key can't be read",
		listen + `"tls":{"cert":"KEY","key":"KEY"}}`:                                            "/tls/cert KEY holds no certificate",
		listen + `"tls":{"cert":"OTHER","key":"KEY"}}`:                                          "/tls/cert OTHER holds no valid certificate",
		listen + `"tls":{"cert":"CERT","key":"CERT"}}`:                                          "/tls/key CERT is no key of that certificate",
		listen + `"username":"a"}`:                                                              "/username must not be there with listen: name who may use the adapter's own broker at users",
		listen + `"password":"a"}`:                                                              "/password must not be there with listen",
		listen + `"password_file":"/a"}`:                                                        "/password_file must not be there with listen",
		listen + `"status_topic":"a"}`:                                                          "/status_topic must not be there with listen",
		listen + `"listen_websocket":"127.0.0.1:1883"}`:                                         "/listen_websocket must be another address",
		listen + `"anonymous":true,"listen_websocket":":1883"}`:                                 "/listen_websocket must be another address",
		listen + `"users":{"a":"b"},"anonymous":true}`:                                          "/anonymous must not be there besides users",
		listen + `"users":{}}`:                                                                  "/users is empty",
		listen + `"users":{"":"b"}}`:                                                            "/users has a user without a name",
		listen + `"users":{"a":""}}`:                                                            "/users/a must be a password, and is empty",
		listen + `"users":{"a":null}}`:                                                          "/users/a must be a password, and is empty",
		listen + `"users":{"b":"c","a/b":17}}`:                                                  "/users/a~1b must be a password, as text: write it in quotes",
		listen + `"websocket_origins":["*"]}`:                                                   "/websocket_origins must not be there without listen_websocket",
		listen + `"listen_websocket":"127.0.0.1:1884","websocket_origins":["*","https://a/b"]}`: "/websocket_origins/1 must be scheme://host",
		listen + `"listen_websocket":"127.0.0.1:1884","websocket_origins":["dash.lan"]}`:        "/websocket_origins/0 must be scheme://host",
		`{"password":"a"}`:                                                                      "/username is missing",
		`{"password_file":"CERT"}`:                                                              "/username is missing",
		`{"username":"a","password":17}`:                                                        "/password must be text, not number: write it in quotes",
		`{"username":true}`:                                                                     "/username must be text, not bool: write it in quotes",
		`{"confirm":300}`:                                                                       "/confirm must be text, not number, such as 300ms",
		`{"broker":"mqtt://h:1884/home"}`:                                                       "/broker must have nothing behind the port: write mqtt://h:1884",
		`{"broker":"mqtts://h?a=b"}`:                                                            "/broker must have nothing behind the port: write mqtts://h",
		`{"broker":"ws://h/mqtt#a"}`:                                                            "/broker must have nothing behind the port",
		`{"publish":{"entities":["light.*","light"]}}`:                                          "/publish/entities/1 must be an entity's id, such as light.hall or sensor.*, and is \"light\"",
		`{"publish":{"entities":["Light.Hall"]}}`:                                               "/publish/entities/0 must be",
		`{"publish":{"entities":["a.b.*"]}}`:                                                    "/publish/entities/0 must be",
		`{"publish":{"entities":[".b"]}}`:                                                       "/publish/entities/0 must be",
		`{"publish":{"domains":["light.hall"]}}`:                                                "/publish/domains/0 must be a domain",
		`{"publish":{"domains":[""]}}`:                                                          "/publish/domains/0 must be a domain",
		`{"publish":{"events":[""]}}`:                                                           "/publish/events/0 is empty",
		`{"publish":{"states":false,"attributes":true}}`:                                        "/publish/attributes wants states",
	} {
		_, err := readSettings(adapter.Config{JSON: []byte(files.Replace(config))})
		var wrong adapter.FieldErrors
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want field errors", config, err)
			continue
		}
		if got := wrong[0].Field + " " + wrong[0].Message; !strings.HasPrefix(got, files.Replace(want)) {
			t.Errorf("%s: got %q, want %q", config, got, want)
		}
	}
	for _, config := range []string{
		`{}`, listen + `"tls":{"cert":"CERT","key":"KEY","insecure":false}}`, `{"broker":"mqtts://h/","tls":{"ca":"CERT"}}`, `{"broker":"wss://h/a?b=c"}`,
		listen + `"status_topic":"","users":{"a":"b"}}`, listen + `"anonymous":true,"listen_websocket":"127.0.0.1:1884"}`,
		`{"listen":"127.0.0.1:0","listen_websocket":"127.0.0.1:0"}`, `{"username":"a"}`, `{"username":"a","password":"b"}`,
		`{"publish":{"entities":["light.hall","*","*_temperature","sensor.*","*.a"],"domains":["nosuch","a*"],"events":["*"]}}`,
	} {
		if _, err := readSettings(adapter.Config{JSON: []byte(files.Replace(config))}); err != nil {
			t.Errorf("%s: got %v, want none", config, err)
		}
	}
}
