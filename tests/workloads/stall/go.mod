module gohang.test/stall

go 1.21
