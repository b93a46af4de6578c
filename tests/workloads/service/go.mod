module gohang.test/service

go 1.21
