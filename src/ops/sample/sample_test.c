/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

/* number: temperature, top_p, min_p, repetition, presence, frequency; count: top_k, seed low, seed high, position, slot, live, masked, n_top */
LMF_OP_CASES(sample) = {
    { "sample", "greedy", "x:f32[3,101] number:f32[3,6]=0,1,0,1,0,0,0,1,0,1,0,0,0,1,0,1,0,0 "
      "count:i32[3,8]=0,0,0,0,-1,1,0,0,0,0,0,1,-1,1,0,0,0,0,0,0,-1,0,0,0 seen:i32[1,101]<9", "", "normal", "1e-6 rms + 1e-6" },
    { "sample", "temperature alone", "x:f32[2,40] number:f32[2,6]=0.7,1,0,1,0,0,1.5,1,0,1,0,0 "
      "count:i32[2,8]=0,11,2,5,-1,1,0,0,0,12,3,6,-1,1,0,0 seen:i32[1,40]<9", "", "normal" },
    { "sample", "top-k 5", "x:f32[2,64] number:f32[2,6]=0.9,1,0,1,0,0,2,1,0,1,0,0 "
      "count:i32[2,8]=5,77,0,3,-1,1,0,0,5,78,0,4,-1,1,0,0 seen:i32[1,64]<9", "", "normal" },
    { "sample", "top-p", "x:f32[2,64] number:f32[2,6]=1,0.8,0,1,0,0,1,0.3,0,1,0,0 "
      "count:i32[2,8]=0,5,0,3,-1,1,0,0,0,6,0,4,-1,1,0,0 seen:i32[1,64]<9", "", "normal" },
    { "sample", "top-k then top-p then min-p", "x:f32[2,64] number:f32[2,6]=1,0.9,0.1,1,0,0,1.3,0.7,0.3,1,0,0 "
      "count:i32[2,8]=20,5,0,3,-1,1,0,0,9,6,0,4,-1,1,0,0 seen:i32[1,64]<9", "", "normal" },
    { "sample", "min-p alone, wide and narrow", "x:f32[8,64] number:f32[8,6]=1,1,0.9,1,0,0,1,1,0.5,1,0,0,1,1,0.05,1,0,0,2,1,0.9,1,0,0,1,1,0.9,1,0,0,1,1,0.5,1,0,0,1,1,0.2,1,0,0,2,1,0.9,1,0,0 "
      "count:i32[8,8]=0,5,0,1,-1,1,0,0,0,6,0,2,-1,1,0,0,0,7,0,3,-1,1,0,0,0,8,0,4,-1,1,0,0,0,9,0,5,-1,1,0,0,0,10,0,6,-1,1,0,0,0,11,0,7,-1,1,0,0,0,12,0,8,-1,1,0,0 seen:i32[1,64]<9", "", "normal" },
    { "sample", "all equal, drawn", "x:f32[3,1300]=2 number:f32[3,6]=1,1,0,1,0,0,0.5,0.6,0,1,0,0,3,1,0.5,1,0,0 "
      "count:i32[3,8]=0,5,0,1,-1,1,0,0,0,6,0,2,-1,1,0,0,40,7,0,3,-1,1,0,0 seen:i32[1,1300]<9", "", "normal" },
    { "sample", "long rows, drawn", "x:f32[4,2500] number:f32[4,6]=1,1,0,1,0,0,0.5,0.95,0,1.3,0,0,5,0.99,0.01,1,0,0,100,1,0,1,0,0 "
      "count:i32[4,8]=0,5,0,1,-1,1,0,0,300,6,0,2,0,1,0,0,1000,7,0,3,-1,1,0,3,0,8,1,9,-1,1,0,0 seen:i32[1,2500]<2", "", "normal" },
    { "sample", "repetition penalty, greedy", "x:f32[1,32] number:f32[1,6]=0,1,0,3,0,0 count:i32[1,8]=0,0,0,0,0,1,0,0 seen:i32[1,32]<2", "", "normal" },
    { "sample", "presence alone", "x:f32[1,32] number:f32[1,6]=0,1,0,1,1.5,0 count:i32[1,8]=0,0,0,0,0,1,0,0 seen:i32[1,32]<2", "", "normal" },
    { "sample", "frequency, and a slot of three", "x:f32[2,32] number:f32[2,6]=0,1,0,1,0,0.5,0.8,1,0,1.2,0.3,0.4 "
      "count:i32[2,8]=0,0,0,0,2,1,0,0,0,9,1,7,0,1,0,0 seen:i32[3,32]<4", "", "normal" },
    { "sample", "the prompt counts for repetition only", "x:f32[1,8]=3,2.9,2.8,1,1,1,1,1 number:f32[1,6]=0,1,0,1,2,2 "
      "count:i32[1,8]=0,0,0,0,0,1,0,0 seen:i32[1,8]=1073741824,0,0,0,0,0,0,0", "", "normal" },
    { "sample", "mask, greedy and drawn", "x:f32[2,70] number:f32[2,6]=0,1,0,1,0,0,1.2,0.9,0,1,0,0 "
      "count:i32[2,8]=0,0,0,0,-1,1,1,0,12,6,0,4,-1,1,1,0 seen:i32[1,70]<9 mask:i32[2,3]=267,0,32,-2147483648,65537,33", "", "normal" },
    { "sample", "mask that allows nothing", "x:f32[2,70] number:f32[2,6]=0,1,0,1,0,0,1.2,0.9,0,1,0,0 "
      "count:i32[2,8]=0,0,0,0,0,1,1,3,0,6,0,4,-1,1,0,2 seen:i32[1,70]<2 mask:i32[2,3]=0,0,64,0,0,0", "", "normal" },
    { "sample", "a mask in a row that does not want it", "x:f32[1,70] number:f32[1,6]=0,1,0,1,0,0 "
      "count:i32[1,8]=0,0,0,0,-1,1,0,0 seen:i32[1,70]<9 mask:i32[1,3]=0", "", "normal" },
    { "sample", "tops: none, some, all, ties", "x:f32[3,25]=0,1,2,2,1,0,-1,3,3,5,4,4,4,0,0,1,1,2,2,3,3,9,9,1,1,"
      "7,6,5,4,3,2,1,0,-1,-2,-3,-4,-5,-6,-7,-8,-9,-10,-11,-12,-13,-14,-15,-16,-17,"
      "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1 number:f32[3,6]=0,1,0,1,0,0,0,1,0,1,0,0,0,1,0,1,0,0 "
      "count:i32[3,8]=0,0,0,0,-1,1,0,6,0,0,0,0,-1,1,0,20,0,0,0,0,-1,1,0,0 seen:i32[1,25]<9", "", "normal" },
    { "sample", "more tops than tokens", "x:f32[1,7] number:f32[1,6]=0,1,0,1,0,0 count:i32[1,8]=0,0,0,0,-1,1,0,20 seen:i32[1,7]<9", "", "normal" },
    { "sample", "bias: one wins, one is ended, none", "x:f32[3,9]=5,1,2,0,0,0,0,0,0,5,1,2,0,0,0,0,0,0,5,1,2,0,0,0,0,0,0 "
      "number:f32[3,6]=0,1,0,1,0,0,0,1,0,1,0,0,0,1,0,1,0,0 count:i32[3,8]=0,0,0,0,-1,1,0,2,0,0,0,0,-1,1,0,0,0,0,0,0,-1,1,0,0 "
      "seen:i32[1,9]<9 mask:i32[3,1]=0 bt:i32[3,2]=2,0,1,-1,-1,2 bv:f32[3,2]=4.5,0.5,3,9,9,9", "", "normal" },
    { "sample", "bias, drawn, with penalties and a mask", "x:f32[2,70] number:f32[2,6]=1,0.9,0,1.5,0.2,0,1.2,1,0.01,1,0,0 "
      "count:i32[2,8]=0,3,1,9,0,1,1,0,12,6,0,4,-1,1,0,0 seen:i32[1,70]<3 mask:i32[2,3]=267,5,32,0,0,0 "
      "bt:i32[2,5]=0,3,8,33,69,5,6,7,-1,2 bv:f32[2,5]=-1,2,-3,1.5,0.25,2,2,-2,50,50", "", "normal" },
    { "sample", "bias without values", "x:f32[1,32] number:f32[1,6] count:i32[1,8]<2 seen:i32[1,32]<9 mask:i32[1,1]=0 bt:i32[1,3]=0", "",
      "refused:E_SHAPE" },
    { "sample", "bias of another width", "x:f32[1,32] number:f32[1,6] count:i32[1,8]<2 seen:i32[1,32]<9 mask:i32[1,1]=0 bt:i32[1,3]=0 "
      "bv:f32[1,2]", "", "refused:E_SHAPE" },
    { "sample", "counts too narrow", "x:f32[1,32] number:f32[1,6] count:i32[1,7]<2 seen:i32[1,32]<9", "", "refused:E_SHAPE" },
    { "sample", "mask too narrow", "x:f32[1,33] number:f32[1,6] count:i32[1,8]<2 seen:i32[1,33]<9 mask:i32[1,1]=0", "", "refused:E_SHAPE" },
    { "sample", "mask of floats", "x:f32[1,32] number:f32[1,6] count:i32[1,8]<2 seen:i32[1,32]<9 mask:f32[1,1]", "", "refused:E_DTYPE" },
    { 0 }
};
