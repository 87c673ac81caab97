-- Posts the bodies of a folder in turn, for wrk:
--
--     wrk -s bench/post.lua http://HOST:PORT/v1/logs -- FOLDER SUFFIX TYPE [ENCODING]

local requests, turn = {}, 0

function init(args)
    local headers = { ["Content-Type"] = args[3], ["Content-Encoding"] = args[4] }
    while true do
        local file = io.open(string.format("%s/%02d.%s", args[1], #requests, args[2]), "rb")
        if file == nil then
            break
        end
        requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
        file:close()
    end
    assert(#requests > 0, "no bodies in " .. args[1])
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end
