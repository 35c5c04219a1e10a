package network

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
)

// ttl of the answers in seconds; CoreDNS' default.
const ttl = 5

// DNS answers for the services of the cluster, on UDP and TCP. Every other
// name does not exist, which it says at once: nothing leaves the machine.
type DNS struct {
	Cluster Cluster
	Domain  string // "cluster.local"
}

// Run serves on address until ctx is done.
func (d DNS) Run(ctx context.Context, address string) error {
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		udp.Close()
		return err
	}
	servers := []*dns.Server{
		{PacketConn: udp, Handler: dns.HandlerFunc(d.serve)},
		{Listener: tcp, Handler: dns.HandlerFunc(d.serve)},
	}
	failed := make(chan error, len(servers))
	for _, server := range servers {
		go func() { failed <- server.ActivateAndServe() }()
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	// Closing the sockets ends the servers, also one that had not begun.
	return errors.Join(err, udp.Close(), tcp.Close())
}

func (d DNS) serve(w dns.ResponseWriter, request *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(request)
	reply.Authoritative = true
	if len(request.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
	} else {
		question := request.Question[0]
		addresses, alias, exists := d.resolve(question.Name)
		switch {
		case !exists:
			reply.Rcode = dns.RcodeNameError
		case alias != "":
			reply.Answer = append(reply.Answer, &dns.CNAME{Hdr: header(question.Name, dns.TypeCNAME), Target: dns.Fqdn(alias)})
		case question.Qtype == dns.TypeA || question.Qtype == dns.TypeANY:
			for _, address := range addresses {
				reply.Answer = append(reply.Answer, &dns.A{Hdr: header(question.Name, dns.TypeA), A: net.ParseIP(address)})
			}
		}
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if option := request.IsEdns0(); option != nil {
			size = int(option.UDPSize())
			reply.SetEdns0(option.UDPSize(), false)
		}
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply) // the client went away; it will ask again
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// resolve looks a name up: SERVICE.NAMESPACE[.svc[.DOMAIN]], in front of it an
// endpoint's host name where the service is headless. alias is set for a
// service of type ExternalName.
func (d DNS) resolve(query string) (addresses []string, alias string, exists bool) {
	hostname, service, namespace, ok := d.split(query)
	if !ok {
		return nil, "", false
	}
	found, err := d.Cluster.Services.Services(namespace).Get(service)
	if err != nil {
		return nil, "", false
	}
	switch {
	case found.Spec.Type == corev1.ServiceTypeExternalName:
		return nil, found.Spec.ExternalName, hostname == ""
	case found.Spec.ClusterIP == corev1.ClusterIPNone:
		addresses = d.Cluster.addresses(namespace, service, hostname)
		// As CoreDNS does: a headless service without endpoints exists, a
		// host name without an endpoint does not.
		return addresses, "", hostname == "" || len(addresses) > 0
	default:
		return []string{found.Spec.ClusterIP}, "", hostname == ""
	}
}

func (d DNS) split(query string) (hostname, service, namespace string, ok bool) {
	name := strings.ToLower(strings.TrimSuffix(query, "."))
	name = strings.TrimSuffix(name, "."+d.Domain)
	withoutSvc, inSvc := strings.CutSuffix(name, ".svc")
	labels := strings.Split(withoutSvc, ".")
	switch {
	case len(labels) == 2:
		return "", labels[0], labels[1], true
	case len(labels) == 3 && inSvc:
		return labels[0], labels[1], labels[2], true
	default:
		return "", "", "", false
	}
}
