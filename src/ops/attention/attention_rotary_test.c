/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(attention_rotary) = {
    { "attention_rotary", "decode and prefill together", "q:f32[5,24] k:f32[5,8] v:f32[5,8] f:f32[2]=0.9,0.1 "
      "kc:f32[5,4,8] vc:f32[5,4,8] seq:i32[5]=0,1,1,1,-1 pos:i32[5]=9,0,1,2,0 qs:i32[3]=0,1,4 page:i32[2,3]=4,2,0,1,3,3",
      "n_heads=6 n_kv_heads=2 head_size=4 window=0 scale=0.5 compute=1 n_rot=4 rope_scale=1", "normal", "0x1p-7 max v; 0x1p-21 max k; "
      "0x1p-21 max v" },
    { "attention_rotary", "one row of SmolLM2, 200 keys", "q:f32[1,576] k:f32[1,192] v:f32[1,192] f:f32[32]=0.9,0.8,0.7,0.6,0.5,... "
      "kc:f32[13,16,192] vc:f32[13,16,192] seq:i32[1]=0 pos:i32[1]=199 qs:i32[2]=0,1 page:i32[1,13]=12,11,10,...", "n_heads=9 "
      "n_kv_heads=3 head_size=64 window=0 scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "one row, f16, more keys than are read ahead", "q:f32[1,576] k:f32[1,192] v:f32[1,192] "
      "f:f32[32]=0.9,0.8,0.7,0.6,0.5,... kc:f16[50,16,192] vc:f16[50,16,192] seq:i32[1]=0 pos:i32[1]=778 qs:i32[2]=0,1 "
      "page:i32[1,50]=49,48,47,...", "n_heads=9 n_kv_heads=3 head_size=64 window=0 scale=0.125 compute=1 n_rot=64 rope_scale=1",
      "normal" },
    { "attention_rotary", "the first key", "q:f32[1,576] k:f32[1,192] v:f32[1,192] f:f32[32]=0.9,0.8,0.7,0.6,0.5,... "
      "kc:f32[3,16,192] vc:f32[3,16,192] seq:i32[1]=0 pos:i32[1]=0 qs:i32[2]=0,1 page:i32[1,3]=2,1,0", "n_heads=9 n_kv_heads=3 "
      "head_size=64 window=0 scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "four sequences, bf16", "q:f32[4,256] k:f32[4,256] v:f32[4,256] f:f32[32]=0.9,0.8,0.7,0.6,0.5,... "
      "kc:bf16[24,8,256] vc:bf16[24,8,256] seq:i32[4]=0,1,2,3 pos:i32[4]=40,0,7,17 qs:i32[5]=0,1,2,3,4 page:i32[4,6]=0,1,2,3,...",
      "n_heads=4 n_kv_heads=4 head_size=64 window=0 scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "six rows of one sequence, one of another, a dead one", "q:f32[8,512] k:f32[8,128] v:f32[8,128] "
      "f:f32[32]=0.9,0.8,0.7,0.6,0.5,... kc:f32[24,8,128] vc:f32[24,8,128] seq:i32[8]=0,0,0,0,0,0,1,-1 "
      "pos:i32[8]=60,61,62,63,64,65,3,0 qs:i32[3]=0,6,7 page:i32[2,12]=0,1,2,3,...", "n_heads=8 n_kv_heads=2 head_size=64 window=0 "
      "scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "heads of 128", "q:f32[3,512] k:f32[3,256] v:f32[3,256] f:f32[64]=0.9,0.8,0.7,0.6,0.5,... "
      "kc:f16[24,8,256] vc:f16[24,8,256] seq:i32[3]=0,0,1 pos:i32[3]=30,31,90 qs:i32[3]=0,2,3 page:i32[2,12]=23,22,21,20,...",
      "n_heads=4 n_kv_heads=2 head_size=128 window=0 scale=0.08839 compute=1 n_rot=128 rope_scale=1", "normal" },
    { "attention_rotary", "a window of 33", "q:f32[2,192] k:f32[2,64] v:f32[2,64] f:f32[32]=0.9,0.8,0.7,0.6,0.5,... kc:f32[60,4,64] "
      "vc:f32[60,4,64] seq:i32[2]=0,1 pos:i32[2]=100,7 qs:i32[3]=0,1,2 page:i32[2,30]=59,58,57,...", "n_heads=3 n_kv_heads=1 "
      "head_size=64 window=33 scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "seven heads of one, a first prompt", "q:f32[6,448] k:f32[6,64] v:f32[6,64] "
      "f:f32[32]=0.9,0.8,0.7,0.6,0.5,... kc:f32[12,8,64] vc:f32[12,8,64] seq:i32[6]=0,0,0,1,1,2 pos:i32[6]=0,1,2,10,11,5 "
      "qs:i32[4]=0,3,5,6 page:i32[3,4]=0,1,2,3,...", "n_heads=7 n_kv_heads=1 head_size=64 window=0 scale=0.125 compute=1 n_rot=64 "
      "rope_scale=1", "normal" },
    { "attention_rotary", "sixteen rows", "q:f32[16,192] k:f32[16,64] v:f32[16,64] f:f32[32]=0.9,0.8,0.7,0.6,0.5,... "
      "kc:f32[40,8,64] vc:f32[40,8,64] seq:i32[16]=0,0,0,0,0,0,0,0,0,0,0,1,2,3,4,-1 "
      "pos:i32[16]=20,21,22,23,24,25,26,27,28,29,30,9,33,0,17,0 qs:i32[6]=0,11,12,13,14,15 page:i32[5,8]=0,1,2,3,...", "n_heads=3 "
      "n_kv_heads=1 head_size=64 window=0 scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "seventy rows of one prompt", "q:f32[70,128] k:f32[70,64] v:f32[70,64] f:f32[32]=0.9,0.8,0.7,0.6,0.5,... "
      "kc:f32[20,16,64] vc:f32[20,16,64] seq:i32[70]=0 pos:i32[70]=5,6,7,... qs:i32[2]=0,70 page:i32[1,20]=0,1,2,3,...", "n_heads=2 "
      "n_kv_heads=1 head_size=64 window=0 scale=0.125 compute=1 n_rot=64 rope_scale=1", "normal" },
    { "attention_rotary", "n_rot of 3", "q:f32[1,8] k:f32[1,8] v:f32[1,8] f:f32[1] kc:f32[1,4,8] vc:f32[1,4,8] seq:i32[1]=0 "
      "pos:i32[1]=0 qs:i32[2]=0,1 page:i32[1,1]=0", "n_heads=2 n_kv_heads=2 head_size=4 window=0 scale=0.5 compute=1 n_rot=3 "
      "rope_scale=1", "refused:E_ARG" },
    { "attention_rotary", "cache of another width", "q:f32[1,8] k:f32[1,8] v:f32[1,8] f:f32[2] kc:f32[1,4,8] vc:f32[1,4,9] "
      "seq:i32[1]=0 pos:i32[1]=0 qs:i32[2]=0,1 page:i32[1,1]=0", "n_heads=2 n_kv_heads=2 head_size=4 window=0 scale=0.5 compute=1 "
      "n_rot=4 rope_scale=1", "refused:E_SHAPE" },
    { 0 }
};
