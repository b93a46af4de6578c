module gohang.test/foreign

go 1.21
