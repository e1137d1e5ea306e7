package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

const (
	familyInet = byte(nftables.TableFamilyINet)
	bound      = "/proc/self/net/netfilter/nfnetlink_queue"
	// After those that let pods send and that refuse what is sent to Services without pods: that is answered at once.
	after = 10
)

// rules are those that lead packets of the pods of `network` into a queue. They are in a table of their own, which
// goes as a whole, whatever other rules the machine has.
type rules struct {
	table   string
	network netip.Prefix
	queue   uint16
}

func (r rules) family() byte {
	if r.network.Addr().Is4() {
		return byte(nftables.TableFamilyIPv4)
	}
	return byte(nftables.TableFamilyIPv6)
}

// native is the expression of nftables that queues a packet.
func (r rules) native() expr.Any { return &expr.Queue{Num: r.queue} }

// xtables is the same by the target of xtables, as iptables-nft would write it: its first revision, which is a number.
func (r rules) xtables() expr.Any {
	info := xt.Unknown(binaryutil.NativeEndian.PutUint64(0))
	copy(info, binaryutil.NativeEndian.PutUint16(r.queue))
	return &expr.Target{Name: "NFQUEUE", Info: &info}
}

// supported says whether the kernel takes an expression, by a table that is gone again.
func (r rules) supported(queue expr.Any) bool {
	nft, err := nftables.New()
	if err != nil {
		return false
	}
	trial := &nftables.Table{Name: r.table + "-trial", Family: nftables.TableFamily(r.family())}
	r.fill(nft, trial, queue)
	nft.DelTable(trial)
	return nft.Flush() == nil
}

// install puts the rules in place, or anew, at once.
func (r rules) install() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: r.table, Family: nftables.TableFamily(r.family())}
	nft.AddTable(table)
	nft.DelTable(table)
	r.fill(nft, table, r.xtables())
	return nft.Flush()
}

func (r rules) remove() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	nft.DelTable(&nftables.Table{Name: r.table, Family: nftables.TableFamily(r.family())})
	return nft.Flush()
}

// fill makes the table: from and to pods where packets are forwarded, where Services' addresses are already those of pods;
// from pods alone where they are for the node itself. What the node sends, probes for one, is never looked at.
func (r rules) fill(nft *nftables.Conn, table *nftables.Table, queue expr.Any) {
	nft.AddTable(table)
	hooks := []struct {
		name string
		hook *nftables.ChainHook
		ends []bool
	}{{"forward", nftables.ChainHookForward, []bool{true, false}}, {"input", nftables.ChainHookInput, []bool{true}}}
	for _, it := range hooks {
		chain := nft.AddChain(&nftables.Chain{Name: it.name, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: it.hook, Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityFilter + after)})
		for _, source := range it.ends {
			nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(r.first(source), queue)})
		}
	}
}

// first matches the first packet of a connection whose source, or destination, is of the pods' network.
func (r rules) first(source bool) []expr.Any {
	length, offset := uint32(4), uint32(12) // https://www.rfc-editor.org/rfc/rfc791#section-3.1
	if r.network.Addr().Is6() {
		length, offset = 16, 8 // https://www.rfc-editor.org/rfc/rfc8200#section-3
	}
	if !source {
		offset += length
	}
	mask := make([]byte, length)
	for bit := range r.network.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	fresh := binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: r.network.Addr().AsSlice()},
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: fresh, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Counter{},
	}
}

// enforced returns why packets do not come before the engine, as the kernel has it now; nil where they do.
func enforced(table string, family byte, queue int) error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	chains, err := nft.ListChainsOfTableFamily(nftables.TableFamily(family))
	if err != nil {
		return err
	}
	hooked := false
	for _, chain := range chains {
		if chain.Table.Name == table && chain.Hooknum != nil {
			if found, err := nft.GetRules(chain.Table, chain); err == nil && len(found) > 0 {
				hooked = true
			}
		}
	}
	if !hooked {
		return fmt.Errorf("the table %s has no rules", table)
	}
	readers, err := os.ReadFile(bound)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(readers)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == fmt.Sprint(queue) {
			return nil
		}
	}
	return errors.New("nobody reads the queue")
}
