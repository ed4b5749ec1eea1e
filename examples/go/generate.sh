#!/bin/sh
# generate.sh REPOSITORY INTO: the Go stubs of the BBS' messages, as packages example.com/bbs/models and example.com/bbs/wire.
# The .proto files name no Go package, so it is said here, file by file. wire_options.proto has a package of its own, as its
# protobuf package is another one.
set -eu
cd "$1"
set -- "$2" --go_opt=Mbbs/models/pb/wire_options.proto=example.com/bbs/wire
into=$1
shift
mkdir -p "$into"
protos=$(ls bbs/models/pb/*.proto | grep -v -e ingress -e envelope -e locket)
for proto in $protos; do
    case $proto in
    */wire_options.proto) ;;
    *) set -- "$@" "--go_opt=M$proto=example.com/bbs/models" ;;
    esac
done
# shellcheck disable=SC2086 # one word per file
protoc -I. --go_out="$into" "$@" $protos
