module gohang.test/proxy

go 1.21
