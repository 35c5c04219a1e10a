-- What a catalog promises, as rows: promise (has, is, not), key, parent's key, text, value.
-- See migrations/facts.py. After a group's name stand the system catalogs that it is read from.
-- Names with a dollar sign are defined in facts.py.

-- group schemas: pg_namespace
SELECT 'has', 'n' || n.oid, '',
    'schema ' || n.nspname,
    n.nspname::text
FROM pg_namespace n
WHERE $users;
SELECT 'is', 'n' || n.oid || '.owner', 'n' || n.oid,
    'the owner of schema ' || n.nspname,
    CASE n.nspowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(n.nspowner)::text END
FROM pg_namespace n
WHERE $users;
SELECT 'has', 'n' || n.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'n' || n.oid,
    g.privilege_type || ' on ' || 'schema ' || n.nspname || ' for ' || CASE g.grantee WHEN 0
        THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
WHERE g.grantee <> n.nspowner AND $users;

-- group relations: pg_class pg_namespace
SELECT 'has', 'r' || c.oid, 'n' || c.relnamespace,
    $kind || ' ' || $relation,
    $relation
FROM $relations;
SELECT 'is', 'r' || c.oid || '.owner', 'r' || c.oid,
    'the owner of ' || $relation,
    CASE c.relowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(c.relowner)::text END
FROM $relations;
SELECT 'is', 'r' || c.oid || '.persistence', 'r' || c.oid,
    'the persistence of ' || $relation,
    CASE c.relpersistence WHEN 'p' THEN 'LOGGED' ELSE 'UNLOGGED' END
FROM $relations;
SELECT 'has', 'r' || c.oid || '.rls', 'r' || c.oid,
    'row level security of ' || $relation,
    ''
FROM $relations
WHERE c.relrowsecurity;
SELECT 'not', 'r' || c.oid || '.rls+', 'r' || c.oid,
    'enables row level security on ' || $relation,
    ''
FROM $relations
WHERE c.relrowsecurity;
SELECT 'not', 'r' || c.oid || '.force+', 'r' || c.oid,
    'forces row level security on ' || $relation,
    ''
FROM $relations
WHERE c.relforcerowsecurity;
SELECT 'has', 'r' || c.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'r' || c.oid,
    g.privilege_type || ' on ' || $relation || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $relations, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) g
WHERE g.grantee <> c.relowner AND c.relkind <> 'S';
SELECT 'has', 'r' || c.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'r' || c.oid,
    g.privilege_type || ' on ' || $relation || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $relations, aclexplode(coalesce(c.relacl, acldefault('s', c.relowner))) g
WHERE g.grantee <> c.relowner AND c.relkind = 'S';

-- group columns: pg_attribute pg_attrdef pg_type
SELECT 'has', $column_key, 'r' || a.attrelid,
    'column ' || $column,
    a.attname::text
FROM $columns AND c.relkind <> 'S';
SELECT 'is', $column_key || '.type', $column_key,
    'the type of column ' || $column,
    format_type(a.atttypid, a.atttypmod) || coalesce(' COLLATE ' || nullif(a.attcollation,
        0)::regcollation::text, '')
FROM $columns AND c.relkind <> 'S';
SELECT 'not', $column_key || '.null+', $column_key,
    'forbids NULL in ' || $column,
    ''
FROM $columns AND a.attnotnull AND c.relkind IN ('r','p','f');
SELECT 'has', $column_key || '.null', $column_key,
    'NOT NULL of ' || $column,
    ''
FROM $columns AND a.attnotnull AND c.relkind IN ('r','p','f');
SELECT 'has', $column_key || '.default', $column_key,
    CASE WHEN a.attidentity <> '' THEN 'the identity' WHEN a.attgenerated <> '' THEN 'the
        generation' ELSE 'the default' END || ' of ' || $column,
    ''
FROM $columns AND c.relkind IN ('r','p','f','v') AND (a.atthasdef OR a.attidentity <> '');
SELECT 'not', $column_key || '.required+', 'r' || a.attrelid,
    'adds ' || $column || ', which every INSERT would have to fill',
    ''
FROM $columns AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND c.relkind IN
        ('r','p','f') JOIN pg_type y ON y.oid = a.atttypid AND y.typdefault IS NULL;
SELECT 'has', $column_key || '.acl.' || g.grantee || '.' || g.privilege_type, $column_key,
    g.privilege_type || ' on column ' || $column || ' for ' || CASE g.grantee WHEN 0 THEN
        'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $columns, aclexplode(a.attacl) g
WHERE g.grantee <> c.relowner;

-- group constraints: pg_constraint
SELECT 'has', 'k' || k.oid, CASE WHEN k.conrelid <> 0 THEN 'r' || k.conrelid ELSE 't' ||
        k.contypid END,
    'constraint ' || k.conname || ' of ' || CASE WHEN k.conrelid <> 0 THEN
        k.conrelid::regclass::text ELSE k.contypid::regtype::text END,
    k.conname::text
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND $users
WHERE k.contype IN ('c','f','p','u','x') AND k.conparentid = 0;
SELECT 'is', 'k' || k.oid || '.def', 'k' || k.oid,
    'constraint ' || k.conname || ' of ' || k.conrelid::regclass::text,
    regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND $users
WHERE k.contype IN ('c','f','p','u','x') AND k.conrelid <> 0 AND k.conparentid = 0;

-- group indexes: pg_index
SELECT 'has', 'u' || i.indrelid || md5(d.def), 'r' || i.indrelid,
    'the uniqueness of ' || i.indrelid::regclass::text || d.def,
    ''
FROM pg_index i JOIN $relations ON c.oid = i.indrelid
CROSS JOIN LATERAL (SELECT substring(pg_get_indexdef(i.indexrelid) from ' USING .*$')) d(def)
WHERE i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
GROUP BY 2, 3, 4;

-- group partitions: pg_inherits
SELECT 'has', 'i' || i.inhrelid || '.' || i.inhparent, 'r' || i.inhrelid,
    i.inhrelid::regclass::text || ' as a part of ' || i.inhparent::regclass::text,
    ''
FROM pg_inherits i JOIN $relations ON c.oid = i.inhrelid;

-- group triggers: pg_trigger
SELECT 'has', 'g' || g.oid, 'r' || g.tgrelid,
    'trigger ' || g.tgname || ' of ' || $relation,
    g.tgname::text
FROM pg_trigger g JOIN $relations ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND g.tgname <> '$trial';
SELECT 'is', 'g' || g.oid || '.enabled', 'g' || g.oid,
    'when trigger ' || g.tgname || ' of ' || $relation || ' fires',
    CASE g.tgenabled WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
        ELSE 'always' END
FROM pg_trigger g JOIN $relations ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND g.tgname <> '$trial';

-- group policies: pg_policy
SELECT 'has', 'p' || p.oid, 'r' || p.polrelid,
    'policy ' || p.polname || ' of ' || $relation,
    p.polname::text
FROM pg_policy p JOIN $relations ON c.oid = p.polrelid;
SELECT 'is', 'p' || p.oid || '.def', 'p' || p.oid,
    'policy ' || p.polname || ' of ' || $relation,
    concat_ws(' ', p.polcmd, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
        '/', pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN $relations ON c.oid = p.polrelid;
SELECT 'not', 'p' || p.oid || '.restrictive+', 'r' || p.polrelid,
    'adds restrictive policy ' || p.polname || ' to ' || $relation,
    ''
FROM pg_policy p JOIN $relations ON c.oid = p.polrelid
WHERE NOT p.polpermissive;

-- group rules: pg_rewrite
SELECT 'has', 'w' || w.oid, 'r' || w.ev_class,
    'rule ' || w.rulename || ' of ' || $relation,
    w.rulename::text
FROM pg_rewrite w JOIN $relations ON c.oid = w.ev_class
WHERE w.rulename <> '_RETURN';
SELECT 'not', 'w' || w.oid || '+', 'r' || w.ev_class,
    'adds rule ' || w.rulename || ' to ' || $relation,
    ''
FROM pg_rewrite w JOIN $relations ON c.oid = w.ev_class
WHERE w.rulename <> '_RETURN';

-- group types: pg_type pg_enum pg_namespace
SELECT 'has', 't' || t.oid, 'n' || t.typnamespace,
    $type,
    n.nspname || '.' || t.typname
FROM $types;
SELECT 'is', 't' || t.oid || '.owner', 't' || t.oid,
    'the owner of ' || $type,
    CASE t.typowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(t.typowner)::text END
FROM $types;
SELECT 'not', 't' || t.oid || '.null+', 't' || t.oid,
    'forbids NULL in ' || $type,
    ''
FROM $types AND t.typnotnull;
SELECT 'has', 't' || t.oid || '.null', 't' || t.oid,
    'NOT NULL of ' || $type,
    ''
FROM $types AND t.typnotnull;
SELECT 'has', 't' || t.oid || '.default', 't' || t.oid,
    'the default of ' || $type,
    ''
FROM $types AND t.typdefault IS NOT NULL;
SELECT 'has', 'e' || e.oid, 't' || e.enumtypid,
    'value ' || e.enumlabel || ' of ' || $type,
    e.enumlabel::text
FROM pg_enum e JOIN $types ON t.oid = e.enumtypid;
SELECT 'has', 't' || t.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 't' || t.oid,
    g.privilege_type || ' on ' || $type || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE
        pg_get_userbyid(g.grantee)::text END,
    ''
FROM $types, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) g
WHERE g.grantee <> t.typowner;

-- group functions: pg_proc pg_namespace
SELECT 'has', 'f' || p.oid, 'n' || p.pronamespace,
    'function ' || $function,
    $function
FROM $functions;
SELECT 'is', 'f' || p.oid || '.result', 'f' || p.oid,
    'the result of ' || $function,
    coalesce(pg_get_function_result(p.oid), '')
FROM $functions;
SELECT 'is', 'f' || p.oid || '.rights', 'f' || p.oid,
    'the rights of ' || $function,
    CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' ELSE 'SECURITY INVOKER' END
FROM $functions;
SELECT 'is', 'f' || p.oid || '.owner', 'f' || p.oid,
    'the owner of ' || $function,
    CASE p.proowner WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(p.proowner)::text END
FROM $functions;
SELECT 'has', 'f' || p.oid || '.acl.' || g.grantee || '.' || g.privilege_type, 'f' || p.oid,
    g.privilege_type || ' on ' || $function || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM $functions, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
WHERE g.grantee <> p.proowner;

-- group sequences: pg_sequence
SELECT 'is', 'q' || s.seqrelid, 'r' || s.seqrelid,
    'the range of ' || $relation,
    s.seqmin || ' to ' || s.seqmax || ' by ' || s.seqincrement
FROM pg_sequence s JOIN $relations ON c.oid = s.seqrelid;

-- group roles: pg_authid pg_auth_members pg_db_role_setting pg_default_acl
SELECT 'has', 'o' || r.oid, '',
    'role ' || r.rolname,
    r.rolname::text
FROM pg_roles r
WHERE r.rolname !~ '^pg_';
SELECT 'is', 'o' || r.oid || '.login', 'o' || r.oid,
    'the attributes of role ' || r.rolname,
    concat_ws(' ', CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN
        r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN r.rolbypassrls THEN
        'BYPASSRLS' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN
        r.rolcreatedb THEN 'CREATEDB' END)
FROM pg_roles r
WHERE r.rolname !~ '^pg_';
SELECT 'has', 'm' || m.roleid || '.' || m.member, 'o' || m.member,
    'membership of ' || pg_get_userbyid(m.member) || ' in ' || pg_get_userbyid(m.roleid),
    ''
FROM pg_auth_members m
GROUP BY m.roleid, m.member;
SELECT 'not', 'z' || s.setdatabase || '.' || s.setrole || '.' || s.setconfig::text, '',
    'sets ' || array_to_string(s.setconfig, ', ') || ' for other sessions',
    ''
FROM pg_db_role_setting s;
SELECT 'has', 'd' || d.oid || '.' || g.grantee || '.' || g.privilege_type, '',
    'default privilege ' || g.privilege_type || ' for ' || CASE g.grantee WHEN 0 THEN 'PUBLIC'
        ELSE pg_get_userbyid(g.grantee)::text END,
    ''
FROM pg_default_acl d, aclexplode(d.defaclacl) g
WHERE g.grantee <> d.defaclrole;

-- group extensions: pg_extension
SELECT 'has', 'x' || x.oid, '',
    'extension ' || x.extname,
    x.extname::text
FROM pg_extension x;
