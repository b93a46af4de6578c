module gohang.test/failures

go 1.21
