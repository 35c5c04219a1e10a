package network

import "testing"

func take(t *testing.T, p *Pool) string {
	t.Helper()
	text, err := p.Take()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPoolStartsAfterTheNodesRange(t *testing.T) {
	p, err := NewPool("10.42.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if got := take(t, p); got != "10.42.1.0" {
		t.Errorf("first address %s", got)
	}
	if p.last.String() != "10.42.255.254" {
		t.Errorf("last address %s", p.last)
	}
}

func TestFreedAddressIsTheLastToComeBack(t *testing.T) {
	p, err := NewPool("10.42.0.0/23") // 255 addresses for pods
	if err != nil {
		t.Fatal(err)
	}
	first := take(t, p)
	p.Release(first)
	for range 254 {
		if got := take(t, p); got == first {
			t.Fatal("a freed address came back while others had not been used")
		}
	}
	if got := take(t, p); got != first {
		t.Errorf("after a full turn: %s, want %s", got, first)
	}
	if got, err := p.Take(); err == nil {
		t.Errorf("an exhausted pool gave %s", got)
	}
}

func TestReserve(t *testing.T) {
	p, err := NewPool("10.42.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Reserve("10.42.3.7") || p.Reserve("10.42.3.7") || p.Reserve("10.42.0.9") || p.Reserve("x") {
		t.Error("reserve must accept a free pod address exactly once")
	}
	if got := take(t, p); got != "10.42.3.8" {
		t.Errorf("after a reservation: %s", got)
	}
}

func TestPoolRefusesNarrowRanges(t *testing.T) {
	for _, cidr := range []string{"10.42.0.0/24", "fd00::/16", "nonsense"} {
		if _, err := NewPool(cidr); err == nil {
			t.Errorf("%s was accepted", cidr)
		}
	}
}

func TestWellKnownAddresses(t *testing.T) {
	if got, err := DNSAddress("10.43.0.0/16"); err != nil || got != "10.43.0.10:53" {
		t.Errorf("DNS at %q, %v", got, err)
	}
	for server, want := range map[string]string{
		"https://127.0.0.1:6443": "127.0.0.1:6443", "https://api.example": "api.example:443", "127.0.0.1": "",
	} {
		if got, _ := HostPort(server); got != want {
			t.Errorf("%s: %q, want %q", server, got, want)
		}
	}
}
