package matrixserver

import "testing"

func TestGatewaysArePublic(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"127.0.0.1:443", "[::1]:443", "10.1.2.3:443", "192.168.0.1:80", "172.16.9.9:443", "169.254.169.254:80", "100.64.0.1:443",
		"[fe80::1]:443", "[fc00::1]:443", "0.0.0.0:443", "[::ffff:127.0.0.1]:443", "224.0.0.1:443", "nonsense"} {
		if err := publicOnly("tcp", a, nil); err == nil {
			t.Errorf("%s was let through", a)
		}
	}
	for _, a := range []string{"93.184.216.34:443", "[2606:2800:220:1::1]:443"} {
		if err := publicOnly("tcp", a, nil); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}
