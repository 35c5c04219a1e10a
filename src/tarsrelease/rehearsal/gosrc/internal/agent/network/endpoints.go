package network

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Cluster is what the proxy and the DNS read of the API, from informers.
type Cluster struct {
	Services corelisters.ServiceLister
	Slices   discoverylisters.EndpointSliceLister
}

// slices lists the EndpointSlices of a service.
func (c Cluster) slices(namespace, service string) []*discoveryv1.EndpointSlice {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service})
	found, err := c.Slices.EndpointSlices(namespace).List(selector)
	if err != nil {
		return nil // a lister reads memory; it has no error to give
	}
	return found
}

// Targets lists host:port of the ready endpoints behind one port of a
// service, sorted and without duplicates.
func (c Cluster) Targets(namespace, service, port string) []string {
	return readyTargets(c.slices(namespace, service), port)
}

func readyTargets(all []*discoveryv1.EndpointSlice, port string) []string {
	var targets []string
	for _, slice := range all {
		for _, p := range slice.Ports {
			if p.Port == nil || name(p.Name) != port || !isTCP(p.Protocol) {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if ready(endpoint) && len(endpoint.Addresses) > 0 {
					targets = append(targets, net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*p.Port))))
				}
			}
		}
	}
	slices.Sort(targets)
	return slices.Compact(targets)
}

// addresses lists the ready endpoints' addresses of a headless service; with
// a host name, only that endpoint's.
func (c Cluster) addresses(namespace, service, hostname string) []string {
	var found []string
	for _, slice := range c.slices(namespace, service) {
		for _, endpoint := range slice.Endpoints {
			if !ready(endpoint) || len(endpoint.Addresses) == 0 {
				continue
			}
			if hostname == "" || name(endpoint.Hostname) == hostname {
				found = append(found, endpoint.Addresses[0])
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// ready reads the condition; absent means ready, says the API.
func ready(endpoint discoveryv1.Endpoint) bool {
	return endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
}

func isTCP(protocol *corev1.Protocol) bool {
	return protocol == nil || *protocol == corev1.ProtocolTCP
}

func name(pointer *string) string {
	if pointer == nil {
		return ""
	}
	return *pointer
}

func portKey(address string, port int32) string { return fmt.Sprintf("%s:%d", address, port) }
