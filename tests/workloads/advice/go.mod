module gohang.test/advice

go 1.25
