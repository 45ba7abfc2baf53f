// The etcd server of the module next door: its own main is in a module that also brings etcd's tools.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
