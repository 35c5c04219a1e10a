// Package network gives pods their addresses and services their two faces: a
// TCP proxy on each cluster address and the cluster's DNS.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
)

// Pool hands out pod addresses in order, going round only at the end, so that
// an address that has just become free is the last to be used again: clients
// may still hold connections to its former pod.
type Pool struct {
	first, last netip.Addr

	mu   sync.Mutex
	next netip.Addr
	used map[netip.Addr]bool
}

// NewPool covers a prefix without its first 256 addresses (the node's) and
// without the last one.
func NewPool(cidr string) (*Pool, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, err
	}
	if !prefix.Addr().Is4() || prefix.Bits() > 23 {
		return nil, fmt.Errorf("pod range %s: want an IPv4 prefix of /23 or wider", cidr)
	}
	base := prefix.Masked().Addr().As4()
	start := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	end := start | (1<<(32-prefix.Bits()) - 1)
	p := &Pool{first: address(start + 256), last: address(end - 1), used: map[netip.Addr]bool{}}
	p.next = p.first
	return p, nil
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// Take gives a free address.
func (p *Pool) Take() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for begin, turned := p.next, false; ; {
		candidate := p.next
		if p.next = candidate.Next(); p.last.Less(p.next) {
			p.next = p.first
		}
		if !p.used[candidate] {
			p.used[candidate] = true
			return candidate.String(), nil
		}
		if turned && p.next == begin {
			return "", errors.New("no pod address is free")
		}
		turned = true
	}
}

// Reserve keeps the address of a pod that had it before this agent started,
// and continues after it. It says no when another pod has the address.
func (p *Pool) Reserve(text string) bool {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Less(p.first) || p.last.Less(addr) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[addr] {
		return false
	}
	p.used[addr] = true
	if !addr.Less(p.next) {
		if p.next = addr.Next(); p.last.Less(p.next) {
			p.next = p.first
		}
	}
	return true
}

// Release makes an address free again.
func (p *Pool) Release(text string) {
	if addr, err := netip.ParseAddr(text); err == nil {
		p.mu.Lock()
		delete(p.used, addr)
		p.mu.Unlock()
	}
}

// DNSAddress is where the cluster's DNS listens: port 53 of the tenth service
// address, by custom.
func DNSAddress(serviceCIDR string) (string, error) {
	prefix, err := netip.ParsePrefix(serviceCIDR)
	if err != nil {
		return "", err
	}
	if !prefix.Addr().Is4() || prefix.Bits() > 28 {
		return "", fmt.Errorf("service range %s: want an IPv4 prefix of /28 or wider", serviceCIDR)
	}
	addr := prefix.Masked().Addr()
	for range 10 {
		addr = addr.Next()
	}
	return netip.AddrPortFrom(addr, 53).String(), nil
}

// HostPort takes host:port from a server's URL.
func HostPort(server string) (string, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	if parsed.Hostname() == "" {
		return "", fmt.Errorf("%q is no URL of a server", server)
	}
	port := parsed.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(parsed.Hostname(), port), nil
}
