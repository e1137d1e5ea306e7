package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/api"
	"sigs.k8s.io/kube-network-policies/pkg/network"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

const (
	headers   = 128  // bytes of a packet that are looked at: an IPv6 and a TCP header with options
	waiting   = 4096 // packets that may wait for their verdict; the kernel drops what is more
	introduce = 5 * time.Second // as long as resolvers wait for an answer
	glance    = 20 * time.Millisecond
	watchful  = 5 * time.Second
)

// queued is the data plane for kernels whose nftables have no queue: a rule of its own leads the first packet of each
// connection from or to a pod into a queue of xtables. Packets wait in the kernel, each as long as its own verdict takes.
type queued struct {
	engine   *networkpolicy.PolicyEngine
	pods     api.PodInfoProvider
	rules    rules
	socket   *nfqueue.Nfqueue
	verdicts sync.Mutex
}

// Run enforces policies until the context ends; then packets pass unseen. If it is killed they are dropped until it is
// back, so that nothing passes that a policy forbids.
func (q *queued) Run(ctx context.Context) error {
	for !q.engine.Ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(glance):
		}
	}
	var err error
	q.socket, err = nfqueue.Open(&nfqueue.Config{
		NfQueue:      q.rules.queue,
		Flags:        nfqueue.NfQaCfgFlagGSO,
		MaxPacketLen: headers,
		MaxQueueLen:  waiting,
		Copymode:     nfqueue.NfQnlCopyPacket,
		WriteTimeout: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	defer q.socket.Close()
	if err = q.socket.RegisterWithErrorFunc(ctx, q.receive, goOn); err != nil {
		return err
	}
	if err = q.rules.install(); err != nil {
		return err
	}
	defer q.rules.remove()
	// Somebody who writes the rules of the machine anew takes ours away, too.
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchful):
			if err := enforced(q.rules.table, q.rules.family(), int(q.rules.queue)); err != nil {
				klog.ErrorS(err, "The rules are put back")
				if err := q.rules.install(); err != nil {
					return err
				}
			}
		}
	}
}

// goOn says that the queue is read on after an error: what was lost is sent again by whom it was from.
func goOn(err error) int {
	var passing *netlink.OpError
	if !errors.As(err, &passing) || !(passing.Timeout() || passing.Temporary()) {
		klog.ErrorS(err, "A packet could not be received")
	}
	return 0
}

func (q *queued) receive(attribute nfqueue.Attribute) int {
	if attribute.PacketID == nil || attribute.Payload == nil {
		return 0
	}
	packet, err := network.ParsePacket(*attribute.Payload)
	packet.ID = *attribute.PacketID
	if err != nil {
		klog.ErrorS(err, "A packet is refused that cannot be read", "packet", packet.ID)
		q.answer(packet.ID, nfqueue.NfDrop)
		return 0
	}
	go q.decide(packet)
	return 0
}

func (q *queued) decide(packet network.Packet) {
	verdict := nfqueue.NfDrop
	source := q.introduced(packet.SrcIP.String())
	q.introduced(packet.DstIP.String())
	if !source {
		// Nobody knows who it is, so nobody knows what it may do.
		klog.InfoS("Refused: no pod has the address", "source", packet.SrcIP, "destination", packet.DstIP)
	} else if allowed, err := q.engine.EvaluatePacket(context.Background(), &packet); err != nil {
		klog.ErrorS(err, "Refused: the policies could not be applied", "packet", packet)
	} else if allowed {
		verdict = nfqueue.NfAccept
	} else {
		klog.InfoS("Refused", "source", packet.SrcIP, "destination", packet.DstIP, "port", packet.DstPort, "protocol", packet.Proto)
	}
	q.answer(packet.ID, verdict)
}

// introduced waits until the pod that has an address of the pods' network is known: a kubelet tells of a new pod about a
// second after the pod may have begun to send. It returns false if nobody is known by that address for longer.
func (q *queued) introduced(address string) bool {
	if found, err := netip.ParseAddr(address); err != nil || !q.rules.network.Contains(found) {
		return err == nil
	}
	for deadline := time.Now().Add(introduce); ; time.Sleep(glance) {
		if _, known := q.pods.GetPodInfoByIP(address); known {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func (q *queued) answer(packet uint32, verdict int) {
	q.verdicts.Lock()
	defer q.verdicts.Unlock()
	if err := q.socket.SetVerdict(packet, verdict); err != nil {
		klog.ErrorS(err, "A verdict could not be given", "packet", packet)
	}
}
