/*
 * json_skip: values that are not used, walked for their faults, for json.cpp.
 */
#pragma once

namespace
{

constexpr unsigned RECORD_DEPTH = 3; /* messages around a record */

struct skipper : scalars {
    bool only_syntax; /* of a record that is left out */

    int pass_over(ondemand::value &v, const char *where)
    {
        std::string_view ignored;
        ondemand::object object;
        ondemand::array array;
        error_code e = *where == '{' ? v.get_object().get(object) : v.get_array().get(array);
        if (e == SUCCESS)
            e = *where == '{' ? object.raw_json().get(ignored) : array.raw_json().get(ignored);
        return e == SUCCESS ? 0 : fail(e, where, 0);
    }

    /* Walk a value that is not used, for its faults. Of a record that is left out, what is
     * nested deeper than a record may be is not looked at. */
    int skip(ondemand::value &v, std::string_view token, unsigned depth)
    {
        const char *where = token.data();
        error_code e;
        if (depth > LOGS_MAX_DEPTH && (*where == '{' || *where == '[')) {
            if (!only_syntax)
                return fail(ERR_TOO_DEEP, where, 0, "nested too deep");
            return pass_over(v, where);
        }
        switch (*where) {
        case '{': {
            ondemand::object object;
            if ((e = v.get_object().get(object)) != SUCCESS)
                return fail(e, where, 0);
            for (auto entry : object) {
                ondemand::field f;
                std::string_view key;
                if ((e = std::move(entry).get(f)) != SUCCESS)
                    return fail(e, where, 0);
                if (escapes && (e = f.unescaped_key().get(key)) != SUCCESS)
                    return fail(e, where, 0);
                int rc = skip(f.value(), f.value().raw_json_token(), depth + 1);
                if (rc < 0)
                    return rc;
            }
            return 0;
        }
        case '[': {
            ondemand::array array;
            if ((e = v.get_array().get(array)) != SUCCESS)
                return fail(e, where, 0);
            for (auto entry : array) {
                ondemand::value item;
                if ((e = std::move(entry).get(item)) != SUCCESS)
                    return fail(e, where, 0);
                int rc = skip(item, item.raw_json_token(), depth + 1);
                if (rc < 0)
                    return rc;
            }
            return 0;
        }
        case '"': {
            std::string_view ignored;
            return string(v, token, 0, ignored);
        }
        case 't':
        case 'f': {
            bool ignored;
            e = v.get_bool().get(ignored);
            break;
        }
        case 'n':
            return null(v, token, 0);
        default: {
            double ignored;
            e = v.get_double().get(ignored);
            if (e != SUCCESS && mended != nullptr && !number_text(token).empty())
                e = SUCCESS; /* a number, and out of range */
        }
        }
        return e == SUCCESS ? 0 : fail(e == INCORRECT_TYPE ? TAPE_ERROR : e, where, 0);
    }

    int null(ondemand::value &v, std::string_view token, unsigned depth)
    {
        bool is_null = false;
        error_code e = simdjson_result<bool>(v.is_null()).get(is_null);
        if (e == SUCCESS && is_null)
            return 0;
        return fail(ERR_MALFORMED, token.data(), depth, "a JSON value is expected here");
    }
};

} // namespace
